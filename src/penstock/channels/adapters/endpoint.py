"""Decides which URLs an account may have us post to, once, before anything is sent anywhere."""

import dataclasses
import functools
import ipaddress
import re
import urllib.parse
from typing import Final

from penstock.base import errors

_VISIBLE: Final = re.compile(r"[!-~]{1,2048}")
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_PORTS: Final = {"https": 443, "http": 80}


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and what to ask for there."""

    secure: bool
    host: str
    port: int
    authority: str
    target: str = dataclasses.field(repr=False)
    """Path and query: some platforms want a token in there, so it is never shown."""

    def __str__(self) -> str:
        """Safe to log: no path, no query."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"


@functools.lru_cache(maxsize=4096)
def parse(url: str, field: str = "config.url") -> Endpoint:
    """An endpoint from a URL. Raises Rejected naming `field`, without the URL, unless it is one that we post to.

    https anywhere; http to this machine only (`localhost` or a loopback address); no user, password or fragment.
    """
    if not _VISIBLE.fullmatch(url):
        raise _refused(field, "must be at most 2048 visible ASCII characters")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(field, "is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _refused(field, "must start with https://")
    if "@" in parts.netloc:
        raise _refused(field, "must not hold a user or a password")
    if "#" in url:
        raise _refused(field, "must not hold a fragment")
    if port == 0:
        raise _refused(field, "must not have port 0")
    host = _host(parts.hostname, field)
    if parts.scheme == "http" and not _is_this_machine(host):
        raise _refused(field, "must start with https://; http is for this machine only")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.scheme == "https", host, port or _PORTS[parts.scheme], parts.netloc.lower(), target)


def _host(name: str, field: str) -> str:
    """A host name or an IP address, in lower case."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        if len(name) > 253 or not _HOST.fullmatch(name):
            raise _refused(field, "must have a host name in ASCII (international names as xn--...)") from None
        return name


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(field: str, rule: str) -> errors.Rejected:
    return errors.Rejected("bad_config", f"{field} {rule}", field=field)
