"""Reads the URLs with which an operator replaces embedded servers; what is wrong is said without repeating a secret."""

import shlex
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from penstock.base import errors
from penstock.servers import probe
from penstock.servers.endpoints import NatsEndpoint
from penstock.servers.settings import ServersSettings


def nats_endpoint(urls: str) -> NatsEndpoint:
    """The endpoint of servers that an operator named: URLs of one cluster, separated by commas, with credentials.

    Raises Rejected without repeating the URL, which is a secret.
    """
    places: list[str] = []
    user, password = "", ""
    for url in urls.split(","):
        try:
            parts = urlsplit(url.strip())
            port = parts.port or 4222
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in {"nats", "tls"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise errors.Rejected(
                "bad_setting",
                "PENSTOCK_NATS_URL must look like nats://user:password@host:4222",
                hint="Several servers of one cluster are separated by commas.",
                field="servers.nats_url",
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        places.append(f"{parts.scheme}://{host}:{port}")
        user, password = user or unquote(parts.username or ""), password or unquote(parts.password or "")
    return NatsEndpoint(",".join(places), user, password, "")


def nats_places(urls: str) -> list[tuple[str, int]]:
    """Hosts and ports of `nats_endpoint`."""
    parts = [urlsplit(url) for url in nats_endpoint(urls).url.split(",")]
    return [(part.hostname or "", part.port or 4222) for part in parts]


def postgres_places(url: str) -> list[tuple[str, int]]:
    """Hosts and ports that libpq would try, from a URL or from `name=value` pairs; a folder is a Unix socket's.

    Raises Rejected without repeating the URL.
    """
    try:
        hosts, numbers = _of_url(url) if "://" in url else _of_pairs(url)
        if len(numbers) == 1:
            numbers *= len(hosts)
        return [(host, int(number or 5432)) for host, number in zip(hosts, numbers, strict=True)]
    except ValueError:
        raise errors.Rejected(
            "bad_setting",
            "PENSTOCK_POSTGRES_URL must look like postgresql://user:password@host:5432/database",
            field="servers.postgres_url",
        ) from None


def _of_url(url: str) -> tuple[list[str], list[str]]:
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError
    # By hand: `urlsplit` refuses several hosts when one of them is an IPv6 address.
    before_query, _, query = rest.partition("?")
    authority, asked = before_query.partition("/")[0], parse_qs(query.partition("#")[0])
    hosts: list[str] = []
    numbers: list[str] = []
    for place in authority.rpartition("@")[2].split(","):
        # An IPv6 address is in brackets and holds colons of its own.
        host, _, number = place.rpartition(":") if ":" in place.rpartition("]")[2] else (place, "", "")
        hosts.append(unquote(host).strip("[]"))
        numbers.append(number)
    hosts = asked["host"][0].split(",") if "host" in asked else [host or "localhost" for host in hosts]
    numbers = asked["port"][0].split(",") if "port" in asked else numbers
    return hosts, numbers


def _of_pairs(text: str) -> tuple[list[str], list[str]]:
    pairs = dict(word.split("=", 1) for word in shlex.split(text))
    return pairs.get("host", "localhost").split(","), pairs.get("port", "").split(",")


async def require_answers(chosen: ServersSettings) -> None:
    """Raise Unavailable `server_away` unless the servers that the operator named can be reached."""
    if chosen.nats_url is not None:
        await _require_answer("NATS", "PENSTOCK_NATS_URL", nats_places(chosen.nats_url.reveal()))
    if chosen.postgres_url is not None:
        await _require_answer("Postgres", "PENSTOCK_POSTGRES_URL", postgres_places(chosen.postgres_url.reveal()))


async def _require_answer(title: str, variable: str, places: Sequence[tuple[str, int]]) -> None:
    for host, port in places:
        if await probe.answers(host, port):
            return
    named = ", ".join(f"{host}:{port}" for host, port in places)
    raise errors.Unavailable(
        "server_away",
        f"{title} at {named} does not answer",
        hint=f"Start it, or unset {variable} to have one started here.",
        after_s=5.0,
    )
