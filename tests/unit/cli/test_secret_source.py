"""Secrets come from where nobody else looks, and what is wrong with one is said without it."""

import io
import os
import pty

import pytest
import typer

from penstock.channels import ports
from penstock.cli import secret_source

SIGNING, TOKEN = ports.SecretKind.SIGNING, ports.SecretKind.TOKEN


@pytest.fixture
def stdin(monkeypatch):
    """Puts bytes on standard input."""

    def put(raw: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))

    put(b"")
    return put


def refused(source: str) -> str:
    with pytest.raises(typer.BadParameter) as caught:
        secret_source.read(source, "token", "--from")
    return str(caught.value)


def test_each_source_is_read_without_its_line_break(tmp_path, stdin, monkeypatch):
    path = tmp_path / "token"
    path.write_bytes(b"from a file \r\n")
    monkeypatch.setenv("BOT_TOKEN", "from a variable")
    stdin(b"from a pipe\n")
    found = [secret_source.read(source, "token", "--from").reveal() for source in (f"@{path}", "-", "env:BOT_TOKEN")]
    assert found == ["from a file ", "from a pipe", "from a variable"]


def test_a_secret_on_the_command_line_is_refused_and_not_repeated():
    assert "never an argument" in refused("xoxb-hush")
    assert "xoxb" not in refused("xoxb-hush")


@pytest.mark.parametrize(
    ("raw", "says"),
    [(b"", "empty"), (b"\n", "empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * 65537, "larger than 65536")],
)
def test_what_is_no_secret_is_refused(stdin, raw, says):
    stdin(raw)
    assert says in refused("-")


def test_nobody_is_asked_where_nobody_is(stdin):
    assert "no terminal" in refused("ask")


def test_somebody_at_a_terminal_is_asked_and_does_not_see_it(monkeypatch):
    """A real terminal, so that it is the terminal's echo which is off."""
    controller, terminal = pty.openpty()
    try:
        with os.fdopen(terminal, "r+b", buffering=0, closefd=False) as raw:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(raw)))
            asked: list[str] = []
            monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "typed")
            assert secret_source.may_ask()
            assert secret_source.read("ask", "token", "--from").reveal() == "typed"
            assert secret_source.read("-", "token", "--from").reveal() == "typed"
            assert asked == ["token secret (not shown): "] * 2
    finally:
        os.close(controller)
        os.close(terminal)


def test_several_are_told_apart_by_what_they_prove(tmp_path, stdin):
    path = tmp_path / "signing"
    path.write_text("a signing secret")
    stdin(b"a token")
    found = secret_source.several([f"signing=@{path}", "token=-"], "--secret")
    assert {kind: secret.reveal() for kind, secret in found.items()} == {SIGNING: "a signing secret", TOKEN: "a token"}
    assert secret_source.several(None, "--secret") == {}


@pytest.mark.parametrize("values", [["token=-", "signing=-"], ["token=env:PATH", "token=env:HOME"], ["password=-"]])
def test_what_cannot_be_told_apart_is_refused(stdin, values):
    stdin(b"one secret")
    with pytest.raises(typer.BadParameter):
        secret_source.several(values, "--secret")
