"""Wrong words and wrong settings: one sentence that names them, and exit code 2, before anything is started."""

import pytest

from tests.unit.cli import calling


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nosuch"], "nosuch"),
        (["tenant", "nosuch"], "nosuch"),
        (["tenant", "ls", "--nosuch"], "--nosuch"),
        (["tenant", "create"], "name"),
        (["tenant", "create", "a", "b"], "b"),
        (["account", "ls"], "--tenant"),
        (["quarantine", "ls", "-t", "acme", "--limit", "0"], "--limit"),
        (["quarantine", "ls", "-t", "acme", "--limit", "many"], "--limit"),
        (["quarantine", "redrive", "-t", "acme"], "--all"),
        (["quarantine", "redrive", "ID", "--all", "-t", "acme"], "--all"),
        (["quarantine", "redrive", "ID", "-t", "acme", "--body", "/no/such/file"], "--body"),
        (["account", "create", "shop", "-t", "acme", "--set", "url"], "--set"),
        (["account", "create", "shop", "-t", "acme", "--set", "=x"], "--set"),
        (["account", "create", "shop", "-t", "acme", "--secret", "token=hush-hush"], "--secret"),
        (["account", "create", "shop", "-t", "acme", "--secret", "password=-"], "--secret"),
        (["account", "create", "shop", "-t", "acme", "--secret", "token=-", "--secret", "signing=-"], "--secret"),
        (["account", "create", "shop", "-t", "acme", "--secret", "token=@/no/such/file"], "--secret"),
        (["account", "create", "shop", "-t", "acme", "--secret", "token=env:NO_SUCH_VARIABLE"], "--secret"),
        (["account", "secret", "add", "acc-1", "-t", "acme", "--from", "hush-hush"], "--from"),
        (["account", "secret", "add", "acc-1", "-t", "acme", "--kind", "password"], "--kind"),
        (["account", "set", "acc-1", "-t", "acme"], "fields"),
        (["account", "set", "acc-1", "-t", "acme", "url"], "fields"),
        (["demo", "--conversations", "0"], "--conversations"),
        (["stream", "nosuch"], "nosuch"),
        (["stream", "diff", "--yes"], "--yes"),
        (["run"], "roles"),
        (["run", "nosuch"], "nosuch"),
        (["nosuch\x1b[31m"], "nosuch"),
    ],
)
def test_wrong_usage_is_named_and_is_exit_code_2(arguments, named):
    ended = calling.call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err
    assert "Traceback" not in ended.err
    assert "\x1b" not in ended.err
    assert "hush" not in ended.err
    as_json = calling.call(*arguments, "--json")
    assert (as_json.code, as_json.out) == (2, "")
    assert as_json.error["code"] in {"usage", "unknown_role"}
    assert as_json.error["detail"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PENSTOCK_CHANNELS__BODY_LIMT", "1", "channels has no setting 'body_limt'"),
        ("PENSTOCK_CHANNELS__BODY_LIMIT_BYTES", "lots", "channels.body_limit_bytes"),
        ("PENSTOCK_CHANNELS__BODY_LIMIT_BYTES", "1", "channels.body_limit_bytes must be between"),
        ("PENSTOCK_NOSUCHROOM__X", "1", "PENSTOCK_NOSUCHROOM__X"),
        ("PENSTOCK_EDGE__PORT", "99999", "edge.port must be between 0 and 65535"),
        ("PENSTOCK_EDGE__PORT", "http", "edge.port"),
        ("PENSTOCK_TELEMETRY__LOG_LEVEL", "loud", "telemetry.log_level must be"),
        ("PENSTOCK_DATABASE__CONNECTIONS", "0", "database.connections must be"),
        ("PENSTOCK_CONFIG", "/no/such/file", "there is no settings file at /no/such/file"),
        ("PENSTOCK_CONFIG", "/", "cannot read /"),
    ],
)
@pytest.mark.parametrize("verb", [["tenant", "ls"], ["doctor"], ["chat"], ["run", "all"], ["up"]], ids=" ".join)
def test_a_wrong_setting_is_named_by_every_verb(verb, name, value, said, tmp_path):
    ended = calling.call(*verb, environ={"PENSTOCK_DATA": str(tmp_path), name: value})
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("penstock: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[edge\n", "is not valid TOML"),
        (b"[edge]\nport = 'x'\n", "edge.port"),
        (b"[edge]\nprot = 1\n", "edge has no setting 'prot'"),
        (b"[egde]\nport = 1\n", "has a table 'egde' that no room reads"),
        (b"edge = 1\n", "write [edge]"),
        (b"\xff\xfe", "is not valid TOML"),
        (b'[edge]\nhost = "a\\u001b[31m"\nprot = 1\n', "edge has no setting 'prot'"),
    ],
)
def test_a_wrong_settings_file_is_named(content, said, tmp_path):
    path = tmp_path / "penstock.toml"
    path.write_bytes(content)
    ended = calling.call("tenant", "ls", environ={"PENSTOCK_CONFIG": str(path), "PENSTOCK_DATA": str(tmp_path)})
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path):
    environ = {"PENSTOCK_EDGE__PORT": "hush-hush", "PENSTOCK_SEALING_KEY": "hush-hush", "PENSTOCK_DATA": str(tmp_path)}
    ended = calling.call("tenant", "ls", environ=environ)
    assert ended.code == 2
    assert "hush" not in ended.err


def test_nothing_is_running(tmp_path):
    ended = calling.call("tenant", "ls", environ={"PENSTOCK_DATA": str(tmp_path)})
    assert (ended.code, ended.err.count("\n")) == (75, 1)
    assert "penstock up" in ended.err
    as_json = calling.call("tenant", "ls", "--json", environ={"PENSTOCK_DATA": str(tmp_path)})
    assert (as_json.code, as_json.error["code"]) == (75, "not_running")


def test_roles_need_urls(tmp_path):
    ended = calling.call("run", "all", environ={"PENSTOCK_DATA": str(tmp_path)})
    assert (ended.code, "PENSTOCK_POSTGRES_URL" in ended.err) == (2, True)
