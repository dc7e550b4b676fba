"""Wraps data keys with the transit engine of HashiCorp Vault or OpenBao, so that the key never leaves that server.

Wire format: the transit engine's public HTTP documentation, `POST /v1/<mount>/encrypt/<key>` and `.../decrypt/<key>`,
JSON with base64 inside. What is sent to be encrypted is the data key and SHA-256 of its place: we prove the place, and
not a parameter that an older server would silently ignore.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import ssl
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx

from penstock.base import errors, settings, telemetry
from penstock.sealing import files

ID_PREFIX: Final = "vault:"
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_PATH: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_CHECKED: Final = bytes(32)
_CHECK_PLACE: Final = b"penstock check"

calls = telemetry.counter(
    "penstock_key_service_calls_total",
    labels=("how", "outcome"),
    meaning="Calls to the key service (how: wrap, unwrap) by outcome: ok, away, refused, broken.",
    remedy="away: the service is down, or the way to it; what is cached lasts for sealing.data_key_cache_s. refused: "
    "the token has expired or lost its policy. See docs/operations/secrets.md.",
)


class VaultKeyService:
    """One transit key as a `ports.KeyService`. Nothing is asked before the first call."""

    def __init__(
        self,
        url: str,
        *,
        mount: str = "transit",
        key: str = "penstock",
        access: "Access",
        timeout_s: float = 5.0,
    ) -> None:
        for field, value in (("vault_mount", mount), ("vault_key", key)):
            if not _PATH.fullmatch(value) or ".." in value or len(value) > 90:
                raise _bad_setting(field, "is not a path of letters, digits, '-', '_' and '.'")
        self._base, self._mount, self._key = _checked_url(url), mount, key
        self._access, self._timeout_s = access, timeout_s
        self._client: httpx.AsyncClient | None = None

    @property
    def id(self) -> str:
        """`vault:<mount>/<key>`; the server's address is no part of it, because servers move (`model.KnownKey`)."""
        return f"{ID_PREFIX}{self._mount}/{self._key}"

    async def check(self) -> None:
        """As `KeyService.check`: one value there and back."""
        await self.unwrap(await self.wrap(_CHECKED, _CHECK_PLACE), _CHECK_PLACE)

    async def wrap(self, secret: bytes, place: bytes) -> bytes:
        """As `KeyService.wrap`; what comes back is the server's text, `vault:v<version>:<base64>`."""
        plain = base64.b64encode(secret + hashlib.sha256(place).digest()).decode("ascii")
        answer = await self._call("wrap", "encrypt", {"plaintext": plain})
        return _text(answer, "ciphertext").encode("ascii", "replace")

    async def unwrap(self, wrapped: bytes, place: bytes) -> bytes:
        """As `KeyService.unwrap`."""
        text = wrapped.decode("ascii", "replace")
        answer = await self._call("unwrap", "decrypt", {"ciphertext": text})
        try:
            plain = base64.b64decode(_text(answer, "plaintext"), validate=True)
        except binascii.Error:
            plain = b""
        secret, digest = plain[:-32], plain[-32:]
        if len(secret) != 32 or not hmac.compare_digest(digest, hashlib.sha256(place).digest()):
            raise errors.Broken("seal_broken", "a wrapped data key was changed, or moved to another row")
        return secret

    async def close(self) -> None:
        """As `KeyService.close`."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _call(self, how: str, operation: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            answer = await self._answered(operation, body)
        except errors.PenstockError as error:
            outcome = {"unavailable": "away", "rejected": "refused"}.get(error.reaction, "broken")
            calls.labels(how, outcome).inc()
            raise
        calls.labels(how, "ok").inc()
        return answer

    async def _answered(self, operation: str, body: dict[str, str]) -> dict[str, Any]:
        headers = self._access.headers()
        try:
            # The client's own limit is for each piece of an answer: one that trickles in would never end.
            async with asyncio.timeout(self._timeout_s):
                response = await self._connected().post(
                    f"{self._base}/v1/{self._mount}/{operation}/{self._key}", json=body, headers=headers
                )
        except (httpx.HTTPError, TimeoutError) as error:
            # The class only: the error's own text may quote the address, and an address may hold a secret.
            raise _away(f"does not answer ({type(error).__name__})") from None
        if response.status_code != 200:
            raise _refused(operation, response)
        try:
            data = response.json()["data"]
        except (ValueError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict):
            raise _away("gave an answer that is none of Vault's")
        return cast("dict[str, Any]", data)

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # Neither proxies nor certificates nor .netrc of the environment: this one says where it goes, and as whom.
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s, trust_env=False, follow_redirects=False, verify=self._access.verified_by()
            )
        return self._client


class Access:
    """How to be let in: a token or the file that holds it, a namespace, and who vouches for the server."""

    def __init__(
        self,
        *,
        token: settings.Secret | None = None,
        token_file: Path | None = None,
        namespace: str = "",
        ca_file: Path | None = None,
    ) -> None:
        if token is None and token_file is None:
            raise _bad_setting("vault_token", "is not set, and no sealing.vault_token_file either")
        if not all(character.isprintable() and character.isascii() for character in namespace):
            raise _bad_setting("vault_namespace", "is not a namespace")
        self._token, self._token_file, self._namespace, self._ca_file = token, token_file, namespace, ca_file

    def headers(self) -> dict[str, str]:
        """The headers of a call, with the token as it is now. Raises Rejected `key_service_refused` without one."""
        text = self._token.reveal() if self._token else ""
        if self._token_file is not None:
            try:
                text = files.read_private(self._token_file, mounted=True)
            except files.Unfit as unfit:
                words = f"the key service's token {unfit.words}"
                raise errors.Rejected("key_service_refused", words, hint=unfit.hint, status=403) from None
        if not re.fullmatch(r"[!-~]+", text.strip()):
            raise errors.Rejected("key_service_refused", "the key service's token is empty or no token", status=403)
        named = {"X-Vault-Namespace": self._namespace} if self._namespace else {}
        return {"X-Vault-Token": text.strip(), "X-Vault-Request": "true", **named}

    def verified_by(self) -> ssl.SSLContext:
        """Who may vouch for the server. Raises Rejected for a file that holds no certificate."""
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError:
            raise _bad_setting("vault_ca_file", f"cannot be read as certificates: {self._ca_file}") from None


def _checked_url(url: str) -> str:
    """Raise Rejected, without the URL, unless it is https, or http to this machine, and nothing but an origin."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    encrypted = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not host or not encrypted or parts.username or parts.password or parts.query or parts.path.strip("/"):
        raise _bad_setting("vault_url", "must look like https://vault.example.org:8200 (http to this machine only)")
    return f"{parts.scheme}://{parts.netloc}"


def _refused(operation: str, response: httpx.Response) -> errors.PenstockError:
    """What an answer other than 200 asks for; the documentation's table of status codes, and the words of a 400."""
    status, words = response.status_code, response.text[:2000]
    if status == 400 and operation == "decrypt":
        if "not found" not in words and "disallowed by policy" not in words:
            return errors.Broken("seal_broken", "a wrapped data key was changed, or is of another transit key")
        return _rejected("has no such key, or no such version of it any more", 404)
    if status in {400, 401, 403, 404, 405}:
        return _rejected(f"refuses to {operation} for this process (status {status})", 403)
    return _away(f"is not ready (status {status})")


def _rejected(what: str, status: int) -> errors.Rejected:
    hint = "Look at the token, its policy, and the names of mount and key: docs/operations/secrets.md."
    return errors.Rejected("key_service_refused", f"the key service {what}", hint=hint, status=status)


def _away(what: str) -> errors.Unavailable:
    return errors.Unavailable("key_service_away", f"the key service {what}", after_s=2.0)


def _bad_setting(field: str, rule: str) -> errors.Rejected:
    return errors.Rejected("bad_setting", f"sealing.{field} {rule}", field=f"sealing.{field}")


def _text(answer: dict[str, Any], field: str) -> str:
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise _away("gave an answer that is none of Vault's")
    return value
