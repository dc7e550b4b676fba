"""Where embedded servers answer, and with which credentials; neither ever prints a password."""

import dataclasses
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from penstock.base import errors

DATABASE: Final = "penstock"
SUPERUSER: Final = "postgres"


@dataclasses.dataclass(frozen=True, slots=True)
class NatsEndpoint:
    """A NATS server, or several of a cluster separated by commas; `url` and `monitor_url` carry no credentials."""

    url: str
    user: str
    password: str = dataclasses.field(repr=False)
    monitor_url: str

    def url_with_credentials(self) -> str:
        """`nats://user:password@host:port`, a secret."""
        if not self.user:
            return self.url
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return ",".join(url.replace("://", f"://{login}", 1) for url in self.url.split(","))


@dataclasses.dataclass(frozen=True, slots=True)
class PostgresEndpoint:
    """A Postgres server behind a Unix socket in the folder `host`; `user` is its superuser."""

    host: str
    port: int
    user: str
    password: str = dataclasses.field(repr=False)
    dbname: str

    def url(self, *, user: str = "", password: str = "", dbname: str = "") -> str:
        """A libpq URL, a secret; other credentials or another database on request."""
        name, word = (user, password) if user else (self.user, self.password)
        login = f"{quote(name, safe='')}:{quote(word, safe='')}" if word else quote(name, safe="")
        return f"postgresql://{login}@{quote(self.host, safe='')}:{self.port}/{quote(dbname or self.dbname, safe='')}"


def given_nats(urls: str) -> NatsEndpoint:
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
