"""Header blocks as they go over the wire: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md."""

from collections.abc import Mapping


def block(headers: Mapping[str, str]) -> bytes:
    """Encode checked headers (see `adapters.acceptance`); empty for none."""
    if not headers:
        return b""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0\r\n{lines}\r\n".encode()
