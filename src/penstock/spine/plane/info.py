"""What a server says of itself: the INFO line that opens a connection, and comes again when something changed."""

import dataclasses
import json
from typing import Any, Final, cast

from penstock.spine.plane import parser

PAYLOAD_LIMIT_BYTES: Final = 1 << 20
"""What NATS takes by default; assumed until a server has said its own limit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """The parts of INFO that matter to a client."""

    max_payload_bytes: int = PAYLOAD_LIMIT_BYTES
    headers: bool = False
    tls_required: bool = False
    tls_available: bool = False
    nonce: str = dataclasses.field(default="", repr=False)
    lame_duck: bool = False
    servers: tuple[str, ...] = ()
    """Clients' addresses of the cluster, as `host:port`."""


def read(text: bytes) -> Info:
    """Read INFO's JSON. Raises Unavailable `protocol_error` when it is none; a field of another kind is not there."""
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise parser.violation("an INFO that is no JSON object")
    fields = cast("dict[str, Any]", said)
    limit, nonce, servers = fields.get("max_payload"), fields.get("nonce"), fields.get("connect_urls")
    return Info(
        max_payload_bytes=limit if isinstance(limit, int) and limit is not True and limit > 0 else PAYLOAD_LIMIT_BYTES,
        headers=fields.get("headers") is True,
        tls_required=fields.get("tls_required") is True,
        tls_available=fields.get("tls_available") is True,
        nonce=nonce if isinstance(nonce, str) else "",
        lame_duck=fields.get("ldm") is True,
        servers=tuple(str(each) for each in cast("list[Any]", servers)) if isinstance(servers, list) else (),
    )
