"""A folder for one test's installation; whatever a failing test leaves running in it is killed."""

from collections.abc import Generator
from pathlib import Path

import pytest

from penstock.servers import testing as servers
from tests.e2e import processes


@pytest.fixture
def folder() -> Generator[Path]:
    """An empty folder that servers may use, also when they drop root."""
    with servers.temporary_folder() as path:
        yield path
        processes.kill(path)
