"""What holds for every test: nothing of the developer's own shell or machine changes a result."""

import os
import signal

import hypothesis
import pytest

# A shell that runs us in the background, or `nohup`, has these ignored, and whatever tests start would ignore them too.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)

# A slow machine is not a failing law; a failing example prints how to repeat it.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def surroundings_are_plain(monkeypatch):
    """A PENSTOCK_... variable of the shell would configure what a test starts."""
    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
