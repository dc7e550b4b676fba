"""What is printed cannot steer a terminal, is one line per error, and says by its exit code what to do."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.cli import output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Rejected("bad_slug", "no", status=400), 2),
        (errors.Rejected("no_secret", "no", status=401), 3),
        (errors.Rejected("tenant_suspended", "no", status=403), 3),
        (errors.Rejected("no_tenant", "no", status=404), 4),
        (errors.Rejected("tenant_exists", "no", status=409), 5),
        (errors.Rejected("too_large", "no", status=413), 1),
        (errors.Unavailable("not_running", "no"), 75),
        (errors.Unavailable("slow_down", "no", throttled=True), 75),
        (errors.Poisoned("undecodable", "no"), 1),
        (errors.Broken("bug", "no"), 1),
    ],
)
def test_the_exit_code_says_what_to_do(error, code):
    assert output.exit_code(error) == code


def test_an_error_is_one_line_with_the_next_step(capsys):
    error = errors.Rejected("x", "tenant must be\r\n  lower case", hint="Choose\n'acme'.", status=409)
    assert output.fail(error, as_json=False) == 5
    assert capsys.readouterr().err == "penstock: tenant must be lower case. Choose 'acme'.\n"


def test_an_error_as_json_names_its_code_and_field(capsys):
    output.fail(errors.Rejected("bad_title", "wrong", hint="Try.", field="title"), as_json=True)
    expected = {"code": "bad_title", "detail": "wrong", "hint": "Try.", "field": "title"}
    assert json.loads(capsys.readouterr().err) == {"error": expected}


STEERING = ["\x1b[31m", "\x9b31m", "\r", "\x08", "\x07", "\x7f", "\u202e", "\u2028", "\x00", "\udcff"]


@pytest.mark.parametrize("steering", STEERING, ids=ascii)
def test_nothing_that_is_printed_steers_a_terminal(steering, capsys):
    text = f"a{steering}b"
    output.line(text)
    output.note(text)
    output.table([f"c{steering}d"], [[text]], empty="")
    output.table(["c"], [], empty=text)
    output.fail(errors.Rejected(text, text, hint=text), as_json=False)
    output.fail(errors.Rejected(text, text, hint=text), as_json=True)
    output.document({text: text})
    printed = "".join(capsys.readouterr())
    assert steering not in printed
    assert all(character.isprintable() for line in printed.splitlines() for character in line)


@given(st.text())
def test_law_a_cell_is_one_printable_line(text):
    shown = output.cell(text)
    assert shown.isprintable()
    assert len(shown) == max(1, len(text))


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists, max_leaves=5))
def test_law_a_document_is_one_line_of_ascii_that_reads_back(value):
    class Out:
        written = ""

        def write(self, text):
            self.written += text

        def flush(self):
            pass

    out = Out()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", out)
        output.document(value)
    assert json.loads(out.written) == value
    assert out.written.isascii()
    assert out.written.count("\n") == 1


def test_a_table_lines_its_columns_up_and_shows_nothing_as_a_dash(capsys):
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    output.table(["id", "at", "note"], [["a", at, None], ["longer", at, ""]], empty="none")
    assert capsys.readouterr().out.splitlines() == [
        "ID      AT                   NOTE",
        "a       2026-01-02 02:04:05  -",
        "longer  2026-01-02 02:04:05  -",
    ]


def test_progress_elsewhere_than_on_a_terminal_is_every_tenth(capsys):
    for done in range(1, 101):
        output.progress(done, 100)
    assert capsys.readouterr().err.splitlines() == [f"{n}/100" for n in range(10, 101, 10)]
