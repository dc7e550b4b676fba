"""Real verbs on a real installation: what they print, how they end, and what hostile words do to them (nothing)."""

import json

import httpx
import pytest

from penstock.channels.testing import webhook_simulator

HOSTILE = [
    "../..",
    "../../../etc/passwd",
    "/etc/passwd",
    "a.b",
    "*",
    ">",
    "tenant.>",
    "a b",
    "a\nb",
    "a\x1b[31mb",
    "\x7f",
    "x" * 5000,
    "Ünïcode",
    "\u202eabc",
    "😀",
    "'; drop table tenancy.tenant; --",
    "${HOME}",
    "%s",
    "\udcff",
    "",
    "--",
    "-",
]


def one_line(outcome):
    """Whether an error was said in one printable line that is not a bug's."""
    line = outcome.err.removesuffix("\n")
    return outcome.err.endswith("\n") and line.isprintable() and "an error of ours" not in line


@pytest.fixture(scope="module")
def acme(installed):
    """A tenant with one account."""
    assert installed.call("tenant", "create", "acme", "--title", "Acme Ltd").code == 0
    made = installed.call("account", "create", "shop", "-t", "acme", "--set", "url=http://127.0.0.1:9/hook", "--json")
    assert made.code == 0, made.err
    return made.document


def test_a_tenants_life(installed):
    created = installed.call("tenant", "create", "globex")
    assert (created.code, created.out) == (0, "tenant globex created\n")
    again = installed.call("tenant", "create", "globex")
    assert (again.code, again.err) == (5, "penstock: tenant 'globex' exists already.\n")
    assert installed.call("tenant", "suspend", "globex", "--json").document["state"] == "suspended"
    listed = {tenant["id"]: tenant["state"] for tenant in installed.call("tenant", "ls", "--json").document}
    assert listed["globex"] == "suspended"
    refused = installed.call("account", "create", "shop", "-t", "globex", "--set", "url=http://127.0.0.1:9/")
    assert (refused.code, "suspended" in refused.err) == (3, True)
    assert installed.call("tenant", "resume", "globex").out == "tenant globex resumed\n"
    table = installed.call("tenant", "ls").out.splitlines()
    assert table[0].split() == ["TENANT", "TITLE", "STATE", "CREATED"]
    assert any(line.split()[:3] == ["globex", "globex", "active"] for line in table)


def test_an_accounts_life(installed, acme):
    id = acme["id"]
    assert acme["webhook_url"] == f"{installed.http_url}/webhooks/webhook/{id}"
    shown = installed.call("account", "show", id, "-t", "acme", "--json")
    assert (shown.document["name"], len(shown.document["secrets"])) == ("shop", 1)
    second = installed.call("account", "secret", "add", id, "-t", "acme", "--json").document
    full = installed.call("account", "secret", "add", id, "-t", "acme")
    assert (full.code, "at most 2 signing secrets" in full.err) == (5, True)
    retired = installed.call("account", "secret", "retire", id, second["secret_id"], "-t", "acme")
    assert retired.code == 0
    gone = installed.call("account", "secret", "retire", id, second["secret_id"], "-t", "acme")
    assert gone.code == 4
    assert installed.call("account", "disable", id, "-t", "acme").code == 0
    assert installed.call("account", "ls", "-t", "acme", "--json").document[0]["disabled_at"]
    assert installed.call("account", "enable", id, "-t", "acme", "--json").document == {"id": id, "disabled": False}
    for outcome in (
        shown,
        installed.call("account", "show", id, "-t", "acme"),
        installed.call("account", "ls", "-t", "acme"),
    ):
        assert acme["secret"] not in outcome.out + outcome.err
        assert second["secret"] not in outcome.out + outcome.err


def test_a_secret_that_is_brought_along_is_never_shown(installed, tmp_path):
    assert installed.call("tenant", "create", "umbrella").code == 0
    path = tmp_path / "signing"
    path.write_text("whsec_" + "QUJD" * 8 + "\n")
    source = f"signing=@{path}"
    made = installed.call("account", "create", "own", "-t", "umbrella", "-c", "terminal", "--secret", source, "--json")
    assert made.code == 0, made.err
    assert [set(one) for one in made.document["secrets"]] == [{"id", "kind"}]
    added = installed.call("account", "secret", "add", made.document["id"], "-t", "umbrella", "--from", f"@{path}")
    assert (added.code, added.out.endswith("signing, sealed\n")) == (0, True)
    wrong = installed.call("account", "create", "not", "-t", "umbrella", "-c", "terminal", "--secret", f"token=@{path}")
    assert (wrong.code, "no use for a token" in wrong.err) == (2, True)
    for outcome in (made, added, wrong, installed.call("account", "show", made.document["id"], "-t", "umbrella")):
        assert "QUJD" not in outcome.out + outcome.err


def test_an_account_is_configured_and_named_anew(installed, acme):
    id = acme["id"]
    changed = installed.call(
        "account", "set", id, "url=http://127.0.0.1:9/new", "-t", "acme", "--name", "store", "--json"
    )
    assert (changed.code, changed.document["config"]) == (0, {"url": "http://127.0.0.1:9/new"})
    refused = installed.call("account", "set", id, "ulr=http://127.0.0.1:9/", "-t", "acme")
    assert (refused.code, one_line(refused)) == (2, True)
    assert installed.call("account", "set", id, "-t", "acme", "--name", "shop").out == f"account {id} changed\n"


def test_anothers_account_is_not_there(installed, acme):
    assert installed.call("tenant", "create", "initech").code == 0
    for verb, more in (
        ("show", ""),
        ("disable", ""),
        ("enable", ""),
        ("set", "url=https://elsewhere.test/"),
        ("secret add", ""),
    ):
        other = installed.call("account", *verb.split(), acme["id"], *more.split(), "-t", "initech")
        missing = installed.call("account", *verb.split(), "acc-" + "a" * 26, *more.split(), "-t", "initech")
        assert (other.code, other.out, other.err) == (4, "", missing.err), "it must look like one that does not exist"
    assert installed.call("account", "ls", "-t", "initech", "--json").document == []


def test_an_event_of_an_unknown_kind_is_kept_to_be_looked_into(installed, acme):
    event = {"type": "call.started", "id": "call-1", "data": {"anything": [1, {"deep": "Grüße"}]}}
    body = json.dumps(event).encode()
    signed = webhook_simulator.WebhookSimulator([acme["secret"]]).sign("hook-1", body)
    for _ in range(2):
        assert httpx.post(acme["webhook_url"], content=body, headers=signed).status_code == 200
    [listed] = installed.call("account", "unknown", "ls", "-t", "acme", "--json").document
    assert (listed["account"], listed["event_id"], listed["kind"]) == (acme["id"], "call-1", "call.started")
    shown = installed.call("account", "unknown", "show", acme["id"], "call-1", "-t", "acme", "--json").document
    assert (json.loads(shown["body"]), shown["whole"]) == (event, True)
    table = installed.call("account", "unknown", "ls", "-t", "acme", "--account", acme["id"]).out.splitlines()
    assert table[0].split() == ["ACCOUNT", "EVENT", "KIND", "BYTES", "RECEIVED"]
    assert json.dumps(event) in installed.call("account", "unknown", "show", acme["id"], "call-1", "-t", "acme").out
    assert installed.call("tenant", "create", "hooli").code == 0
    assert installed.call("account", "unknown", "ls", "-t", "hooli").out == "no event of an unknown kind came\n"
    foreign = installed.call("account", "unknown", "show", acme["id"], "call-1", "-t", "hooli")
    assert (foreign.code, one_line(foreign)) == (4, True)


def test_an_account_of_the_same_name_is_a_conflict(installed, acme):
    again = installed.call("account", "create", "shop", "-t", "acme", "--set", "url=http://127.0.0.1:9/hook")
    assert (again.code, one_line(again)) == (5, True)


def test_an_empty_quarantine(installed, acme):
    assert installed.call("quarantine", "ls", "-t", "acme").out == "nothing is in quarantine\n"
    assert installed.call("quarantine", "ls", "-t", "acme", "--json").document == []
    assert installed.call("quarantine", "redrive", "--all", "-t", "acme", "--json").document == {"redriven": 0}
    missing = installed.call("quarantine", "show", "0" * 32, "-t", "acme")
    assert (missing.code, one_line(missing)) == (4, True)


def test_the_doctor_finds_it_running(installed):
    found = {check["name"]: check for check in installed.call("doctor", "--json").document}
    assert found["nats server"]["found"].startswith("runs as process")
    assert [found[f"role {name}"]["found"] for name in ("inbound", "outbound", "state")] == ["1 present"] * 3
    assert installed.call("doctor").code == 0


@pytest.mark.parametrize("word", HOSTILE, ids=lambda word: ascii(word)[:30])
def test_hostile_words_get_one_line_wherever_they_stand(installed, acme, word):
    """As a name, a title, an id, a filter, a channel and a setting. Refused is any exit code that is not a bug's."""
    before = installed.call("tenant", "ls", "--json").document
    for arguments in (
        ["tenant", "create", "--", word],
        ["tenant", "suspend", "--", word],
        ["account", "ls", "-t", word],
        ["account", "show", "-t", "acme", "--", word],
        ["account", "disable", "-t", "acme", "--", word],
        ["account", "secret", "retire", "-t", "acme", "--", acme["id"], word],
        ["account", "create", "-t", "acme", "-c", word, "--", "x"],
        ["account", "create", "-t", "acme", "--set", f"url={word}", "--", "x"],
        ["account", "create", "-t", "acme", "--set", f"{word}=x", "--", "x"],
        ["quarantine", "ls", "-t", word],
        ["quarantine", "show", "-t", "acme", "--", word],
        ["chat", "--", f"/no/such/{word[:100]}"],
    ):
        refused = installed.call(*arguments)
        assert refused.code in {2, 3, 4, 5}, (arguments[:3], refused)
        assert "Traceback" not in refused.err
        assert one_line(refused) or refused.err.startswith("Usage:"), (arguments[:3], refused.err)
        if not refused.err.startswith("Usage:"):
            assert json.loads(installed.call(*arguments[:2], "--json", *arguments[2:]).err)["error"]["code"]
    assert installed.call("tenant", "ls", "--json").document == before


@pytest.mark.parametrize("word", ["x" * 201, "a\nb", "a\x1b[31mb", "\u202eabc", "\udcff"], ids=ascii)
def test_names_for_people_are_printable(installed, acme, word):
    title = installed.call("tenant", "create", "hooli", "--title", word)
    assert (title.code, title.err.startswith("penstock: title must be 1-200 printable")) == (2, True)
    name = installed.call("account", "create", "-t", "acme", "--set", "url=http://127.0.0.1:9/", "--", word)
    assert (name.code, name.err.startswith("penstock: name must be 1-200 printable")) == (2, True)


def test_names_for_people_may_be_in_any_script(installed):
    title = "Société générale 株式会社 😀"
    made = installed.call("tenant", "create", "any-script", "--title", title, "--json")
    assert (made.code, made.document["title"]) == (0, title)
    assert title in installed.call("tenant", "ls").out


def test_the_tenant_may_come_from_the_environment(installed, acme):
    assert len(installed.call("account", "ls", "--json", PENSTOCK_TENANT="acme").document) == 1


def test_another_user_of_the_machine_learns_nothing(installed):
    for path in (installed.data / "run" / "endpoints.json", installed.data / "secrets"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_second_one_in_the_same_folder_is_refused(installed):
    from tests.integration.app import installation

    second = installation.run(installed.environ, "up")
    assert (second.code in {5, 75}, second.out) == (True, "")
    assert one_line(second)
