"""One installation that all verbs of this folder are tried on, started as a user starts it."""

import pytest

from penstock.servers import testing
from tests.integration.app import installation


@pytest.fixture(scope="module")
def installed():
    """A running `penstock up` in a folder of its own."""
    with testing.temporary_folder() as folder, installation.up(installation.environment(folder)) as running:
        yield running
