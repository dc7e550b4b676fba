"""What cannot work is one line and an exit code, before anything is connected to."""

import io
import sys
from typing import Any

import pytest
import structlog

from penstock import sdk
from penstock.base import telemetry
from penstock.sdk import process, settings


@pytest.fixture(autouse=True)
def logs_are_as_before():
    """`run` points logs at standard error, which is this test's own."""
    yield
    structlog.reset_defaults()


def app() -> sdk.App:
    made = sdk.App("echo")

    @made.on_message
    async def answer(message: sdk.Message) -> None:
        await message.reply("hi")

    return made


def run(made: sdk.App, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        made.run(**options)
    said = capsys.readouterr()
    assert said.out == ""
    return ended.value.code, said.err


def test_no_tenant(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(app(), capsys)
    assert code == 2
    assert said == (
        "penstock: for which tenant does this app answer? Set PENSTOCK_TENANT, for example PENSTOCK_TENANT=acme "
        "('penstock tenant ls' lists them).\n"
    )


def test_nothing_running(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATA", str(tmp_path))
    code, said = run(app(), capsys, tenants=["acme"])
    assert code == 75
    assert said.startswith(f"penstock: no installation runs in {tmp_path}. Start one with 'penstock up'")
    assert said.count("\n") == 1


def test_no_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(sdk.App("mute"), capsys, tenants=["acme"])
    assert (code, said) == (2, "penstock: the app mute has no handler. Write one: @app.on_message\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_LEVEL", "loud"), ("DRAIN_S", "0"), ("CONNECT_S", "nan"), ("PROBE_PORT", "70000"), ("NO_SUCH", "1")],
)
def test_a_wrong_setting_names_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"PENSTOCK_SDK__{name}", value)
    code, said = run(app(), capsys, tenants=["acme"])
    assert code == 2
    assert name.lower() in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (sdk.Rejected("x", "x"), 2),
        (sdk.Rejected("x", "x", status=401), 3),
        (sdk.Rejected("x", "x", status=403), 3),
        (sdk.Unavailable("x", "x"), 75),
        (sdk.Broken("x", "x"), 1),
    ],
)
def test_exit_codes_are_those_of_the_command_line(error: sdk.PenstockError, code: int) -> None:
    assert process.exit_code(error) == code


def test_the_loop_is_uvloop_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process._loop_factory() is not None
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert process._loop_factory() is None


def test_a_log_line_that_nobody_can_read_ends_nothing() -> None:
    stream = io.StringIO()
    telemetry.configure_logs(stream=stream)
    telemetry.logger("test").error("first")
    stream.close()
    telemetry.logger("test").error("second")
    assert stream.closed


def test_the_defaults_can_work() -> None:
    assert settings.SdkSettings().drain_s < 30  # what Kubernetes gives a pod
