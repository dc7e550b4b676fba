"""An app's process: waited for until it listens, told about when it ends, and stopped whatever it does."""

import asyncio
import os
import signal

import pytest

from penstock.app import apps
from penstock.base import errors

READY = "import os; os.write(int(os.environ['PENSTOCK_SDK__READY_FD']), b'\\n')\n"
FOR_EVER = "import signal\nwhile True: signal.pause()\n"


@pytest.fixture
def write(tmp_path):
    def writing(program):
        path = tmp_path / "an app.py"
        path.write_text(program)
        return path

    return writing


async def test_it_is_there_once_it_says_so_and_gone_afterwards(write):
    async with apps.running(write(READY + FOR_EVER), os.environ) as process:
        assert process.returncode is None
    assert process.returncode == -signal.SIGTERM


async def test_one_that_ends_before_it_listens_is_an_error_with_its_exit_code(write):
    with pytest.raises(errors.Rejected) as refused:
        async with apps.running(write("raise SystemExit(3)"), os.environ):
            pass
    assert (refused.value.code, "exit code 3" in refused.value.detail) == ("app_ended", True)


async def test_one_that_never_listens_is_given_up_and_stopped(write, monkeypatch, tmp_path):
    monkeypatch.setattr(apps, "LISTENS_S", 1.0)
    program = f"import os, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n" + FOR_EVER
    with pytest.raises(errors.Unavailable) as waited:
        async with apps.running(write(program), os.environ):
            pass
    assert waited.value.code == "app_not_ready"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_one_that_ends_by_itself_is_told_about(write):
    told, heard = [], asyncio.Event()

    def tell(text):
        told.append(text)
        heard.set()

    path = write(READY + "raise SystemExit(4)")
    async with apps.running(path, os.environ, tell):
        async with asyncio.timeout(20):
            await heard.wait()
    assert told == [f"The app {path} ended (exit code 4)."]


async def test_one_that_does_not_care_is_killed(write, monkeypatch):
    monkeypatch.setattr(apps, "STOPS_S", 0.2)
    program = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + FOR_EVER
    async with apps.running(write(program), os.environ) as process:
        pass
    assert process.returncode == -signal.SIGKILL


async def test_it_is_told_how_to_reach_the_bus_and_nothing_of_the_database_or_the_key(write, tmp_path):
    program = f"import os, pathlib\npathlib.Path({str(tmp_path / 'seen')!r}).write_text(' '.join(os.environ))\n"
    secret = {"PENSTOCK_POSTGRES_URL": "x", "PENSTOCK_SEALING_KEY": "x", "PENSTOCK_SEALING__KEY": "x"}
    needed = {"PENSTOCK_DATA": "x", "PENSTOCK_TENANT": "x", "PENSTOCK_SDK__DRAIN_S": "1"}
    async with apps.running(write(program + READY + FOR_EVER), {**os.environ, **secret, **needed}):
        seen = set((tmp_path / "seen").read_text().split())
    assert needed.keys() <= seen
    assert not secret.keys() & seen
