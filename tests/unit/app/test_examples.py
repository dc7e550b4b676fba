"""The examples are found in a checkout; one that is missing is our bug."""

import pytest

from penstock.app import examples
from penstock.base import errors


def test_the_echo_app_is_there():
    assert (examples.path("echo") / "app.py").is_file()


def test_one_that_is_missing_is_our_bug():
    with pytest.raises(errors.Broken):
        examples.path("no-such-example")
