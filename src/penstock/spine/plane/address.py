"""Where NATS is and who we are there: one type for the data plane and for nats-py, that shows no secret."""

import dataclasses
import ssl
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from penstock.base import errors

PORT: Final = 4222
INBOX_PREFIX: Final = "_INBOX"
API_PREFIX: Final = "$JS.API"


class Signer(Protocol):
    """An nkey: proves who we are by signing what the server makes up, without telling it a secret."""

    @property
    def public_key(self) -> str:
        """As the server's configuration names the user: `U...`."""
        ...

    def sign(self, nonce: bytes) -> bytes:
        """The 64 bytes of an ed25519 signature."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are: user and password, or a token, or an nkey. Never shown."""

    user: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)
    token: str = dataclasses.field(default="", repr=False)
    signer: Signer | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What URLs cannot say. `first`: the server expects TLS at once, without sending its INFO in clear before."""

    token: str = dataclasses.field(default="", repr=False)
    signer: Signer | None = dataclasses.field(default=None, repr=False)
    tls: ssl.SSLContext | None = dataclasses.field(default=None, repr=False)
    tls_first: bool = False
    inbox_prefix: str = INBOX_PREFIX
    api_prefix: str = API_PREFIX


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom to connect: servers of one cluster as URLs without credentials. Never shows a secret.

    With a `tls` context nothing is said to a server that does not speak TLS.
    """

    servers: tuple[str, ...]
    credentials: Credentials = Credentials()
    name: str = "penstock"
    tls: ssl.SSLContext | None = dataclasses.field(default=None, repr=False)
    tls_first: bool = False
    inbox_prefix: str = INBOX_PREFIX
    api_prefix: str = API_PREFIX

    def __str__(self) -> str:
        return ",".join(self.servers)


def address(
    urls: str, *, user: str = "", password: str = "", name: str = "penstock", access: Access | None = None
) -> Address:
    """Read `nats://user:password@host:port` (or `tls://`, or `nats://token@host`), several separated by commas.

    Percent-encoding is undone. Credentials that are given apart come before those of a URL. One server as `tls://`
    means TLS to all of them: what one may not read, no other in its place may. Raises Rejected `nats_url` without
    repeating it.
    """
    access = access or Access()
    servers: list[str] = []
    for url in urls.split(","):
        scheme, host, port, url_user, url_password = _parts(url.strip())
        servers.append(f"{scheme}://{host}:{port}")
        user, password = user or url_user, password or url_password
    token = access.token
    if user and not password:
        user, token = "", token or user
    secure = any(server.startswith("tls://") for server in servers) or access.tls_first
    return Address(
        tuple(dict.fromkeys(servers)),
        Credentials(user, password, token, access.signer),
        name,
        access.tls or (ssl.create_default_context() if secure else None),
        access.tls_first,
        access.inbox_prefix,
        access.api_prefix,
    )


def _parts(url: str) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, user and password of one URL."""
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port = PORT if parts.port is None else parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in {"nats", "tls"} or not parts.hostname or parts.path.strip("/") or parts.query or not port:
        raise errors.Rejected(
            "nats_url", "the address of a NATS server looks like nats://user:password@host:4222", field="nats_url"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host, port, unquote(parts.username or ""), unquote(parts.password or "")
