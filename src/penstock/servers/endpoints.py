"""Where embedded servers answer, and with which credentials; neither ever prints a password."""

import dataclasses
from typing import Final
from urllib.parse import quote

DATABASE: Final = "penstock"
SUPERUSER: Final = "postgres"
PORT: Final = 5432
"""Of Postgres: only part of the socket's name, since each server has a folder of its own."""


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
