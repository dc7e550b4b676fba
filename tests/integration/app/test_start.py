"""What an installation refuses to start with: one sentence each, nothing left running."""

import json
import socket

import pytest

from penstock.servers import testing
from tests.integration.app import installation
from tests.integration.app.test_verbs import one_line

WRONG_KEY = "ab" * 32


@pytest.fixture
def folder():
    with testing.temporary_folder() as path:
        yield path


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_wrong_sealing_key_is_refused_by_up_by_run_and_by_every_verb(folder):
    environ = installation.environment(folder)
    with installation.up(environ) as installed:
        assert installed.call("tenant", "create", "acme").code == 0
        # Nothing is sealed yet: the first start decided the key.
        refused = [installed.call("tenant", "ls", PENSTOCK_SEALING_KEY=WRONG_KEY)]
        made = installed.call("account", "create", "shop", "-t", "acme", "--set", "url=http://127.0.0.1:9/")
        assert made.code == 0, made.err
        refused.append(installed.call("tenant", "ls", PENSTOCK_SEALING_KEY=WRONG_KEY))
        where = json.loads((installed.data / "run" / "endpoints.json").read_text())
        nats = where["nats_url"].replace("nats://", f"nats://{where['nats_user']}:{where['nats_password']}@")
        urls = {"PENSTOCK_NATS_URL": nats, "PENSTOCK_POSTGRES_URL": where["postgres_url"]}
        refused.append(
            installation.run(
                {**environ, **urls, "PENSTOCK_SEALING_KEY": WRONG_KEY, "PENSTOCK_EDGE__PORT": "0"}, "run", "channels"
            )
        )
        missing = installed.call("tenant", "ls", XDG_CONFIG_HOME=str(folder / "elsewhere"))
        assert (missing.code, "there is no sealing key at" in missing.err) == (2, True)
        assert installed.call("account", "ls", "-t", "acme").code == 0
    refused.append(installation.run({**environ, "PENSTOCK_SEALING_KEY": WRONG_KEY}, "up"))
    for outcome in refused:
        assert (outcome.code, outcome.out) == (2, "")
        assert one_line(outcome)
        assert "the database's secrets are sealed under key" in outcome.err
        assert WRONG_KEY not in outcome.err
    with installation.up(environ) as installed:  # nothing was left running, and the right key opens
        assert installed.call("account", "ls", "-t", "acme", "--json").document[0]["name"] == "shop"


def test_a_port_that_somebody_else_has_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = installation.run(installation.environment(folder, PENSTOCK_EDGE__PORT=str(port)), "up")
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err.startswith(
        f"penstock: port {port} on 127.0.0.1 is in use. Choose another with PENSTOCK_EDGE__PORT"
    )
    assert one_line(outcome)


def test_the_option_beats_the_environment_in_every_process(folder):
    """The core must watch the disk of the folder that `--data` names, whatever else the environment says."""
    environ = installation.environment(folder, PENSTOCK_SERVERS__DATA_FOLDER=str(folder / "other"))
    process = installation.started(environ, "--data", str(folder / "chosen"))
    with process as ready:
        environ_of_core = installation.core_environment(ready["pid"])
        assert environ_of_core["PENSTOCK_DATA"] == str(folder / "chosen")
        assert "PENSTOCK_SERVERS__DATA_FOLDER" not in environ_of_core
    assert not (folder / "other").exists()
