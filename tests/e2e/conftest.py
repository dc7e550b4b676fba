"""A folder for one test's installation, whose left-over processes are killed, and a place for what is measured."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from penstock.servers import testing as servers
from tests.e2e import processes
from tests.soak import measured as measurements


@pytest.fixture
def folder() -> Generator[Path]:
    """An empty folder that servers may use, also when they drop root."""
    with servers.temporary_folder() as path:
        yield path
        processes.kill(path)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> measurements.Measured:
    """Takes a row of the table at the end of the run."""
    return measurements.Measured(record_property)
