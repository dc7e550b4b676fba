"""What holds for every test: nothing of the developer's own shell or machine changes a result."""

import os
import signal

import hypothesis
import pytest
import structlog

from tests.integration.spine import stalls
from tests.soak import measured

# A shell that runs us in the background, or `nohup`, has these ignored, and whatever tests start would ignore them too.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)

# A slow machine is not a failing law; a failing example prints how to repeat it.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


# As structlog prints by itself, but for its pictures of tracebacks: on a busy machine one takes a second of the event
# loop, in which leases run out.
PLAIN_LINES = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)


@pytest.fixture(autouse=True)
def surroundings_are_plain(monkeypatch):
    """Neither a PENSTOCK_... variable of the shell nor an earlier test configures what a test starts."""
    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
    # A level that an earlier test chose would hide lines that this one looks for.
    structlog.reset_defaults()
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], PLAIN_LINES])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables of what end-to-end tests and clusters survived, and at which price."""
    measured.write(terminalreporter)
    stalls.write(terminalreporter)


@pytest.fixture(scope="session")
def nats_cluster():
    """Three clustered nats-servers over TLS that all tests of this session share: `await settled()` when you end."""
    from tests import cluster

    with cluster.running() as held:
        yield held
