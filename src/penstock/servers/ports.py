"""Free TCP ports on loopback, kept from one start to the next so that addresses stay what they were."""

import socket
from collections.abc import Collection
from typing import Final

from penstock.base import errors

HOST: Final = "127.0.0.1"


def is_free(port: int) -> bool:
    """True when a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier server that are still being closed are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def any_free(*, but: Collection[int] = ()) -> int:
    """A free port that the system gives out, none of `but`."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in but:
            return port


def choose(fixed: int, *, remembered: int = 0, setting: str, but: Collection[int] = ()) -> int:
    """The port to listen on: `fixed` if the operator set one, else the remembered one if still free, else any.

    Raises Rejected when `fixed` is in use; `setting` names it for people.
    """
    if fixed:
        if is_free(fixed):
            return fixed
        raise errors.Rejected(
            "port_in_use",
            f"port {fixed} on {HOST} is used by another program",
            hint=f"Stop that program, or leave {setting} at 0 to use any free port.",
            field=setting,
            status=409,
        )
    if remembered and remembered not in but and is_free(remembered):
        return remembered
    return any_free(but=but)
