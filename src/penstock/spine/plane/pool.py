"""The servers that may carry our connection: those we were told, and those the cluster tells us of."""

import dataclasses
import ipaddress
import random
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

LEARNED_LIMIT = 256
"""Most servers that are believed to exist beside those we were told."""


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """One server. `tls_name` is whose certificate it must show."""

    host: str
    port: int
    tls_name: str = dataclasses.field(default="", compare=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def server(place: str, *, tls_name: str = "", alike: bool = False) -> Server | None:
    """Read `nats://host:port` or `host:port`; None for what is neither.

    A server that is only known by its number is asked for the certificate of whoever told us of it, `tls_name`; when
    they are `alike`, any is.
    """
    try:
        parts = urlsplit(place if "://" in place else f"nats://{place}")
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        return None
    if not host or not port:
        return None
    return Server(host, port, tls_name if tls_name and (alike or _is_number(host)) else host)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Pool:
    """All servers, in the order in which they are tried: shuffled once, so that clients spread over them."""

    def __init__(self, servers: Sequence[str]) -> None:
        told = [found for found in map(server, servers) if found is not None]
        self._told = frozenset(told)
        self._servers = random.sample(told, len(told))

    def __len__(self) -> int:
        return len(self._servers)

    def learn(self, places: Iterable[str], *, informer: Server, alike: bool = False) -> None:
        """Take over what a server says of its cluster; of those learned before, the ones it names no more are gone.

        Servers that are `alike` must show the certificate of the one that told us of them.
        """
        named = [server(place, tls_name=informer.tls_name, alike=alike) for place in places]
        found = [one for one in dict.fromkeys(named) if one is not None][:LEARNED_LIMIT]
        if not found:
            return
        told = [one for one in self._servers if one in self._told or (one == informer and one not in found)]
        learned = {one: one for one in found if one not in told}
        # In the order that there is, with the certificates that they have to show now.
        kept = [learned.pop(one, one) for one in self._servers if one in told or one in learned]
        new = list(learned)
        self._servers = kept + random.sample(new, len(new))

    def candidates(self, *, after: Server | None = None) -> list[Server]:
        """Every server once, to be tried in turn; the one that we come from last."""
        if after not in self._servers:
            return list(self._servers)
        index = self._servers.index(after) + 1
        return self._servers[index:] + self._servers[:index]
