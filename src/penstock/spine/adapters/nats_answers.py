"""What JetStream answers, read and turned into results or into the four reactions.

Codes: https://github.com/nats-io/nats-server/blob/main/server/errors.json (the `error_code` of each entry).
"""

import base64
import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from penstock.base import errors
from penstock.spine import ports

STREAM_NOT_FOUND: Final = 10059
CONSUMER_NOT_FOUND: Final = 10014
NO_MESSAGE: Final = 10037
NOT_THERE: Final = (10043, 10057)
"""A single message that is to be deleted and is not there: it was once, or never."""
NO_SERVERS: Final = 10005
WRONG_LAST_SEQUENCE: Final = (10071, 10164)

_REJECTED: Final = {
    STREAM_NOT_FOUND: "no_stream",
    CONSUMER_NOT_FOUND: "no_consumer",
    NO_MESSAGE: "no_message",
    **dict.fromkeys(NOT_THERE, "no_message"),
    10058: "stream_exists",
    10065: "stream_refused",
    10074: "stream_refused",
    10052: "stream_refused",
    NO_SERVERS: "stream_refused",
    10149: "no_consumer",
    10148: "consumer_exists",
    10100: "consumer_refused",
    10101: "consumer_refused",
    10099: "consumer_refused",
    10084: "not_browsable",
    10160: "not_pinned",
    10134: "not_browsable",
    10054: "too_large",
    10060: "wrong_stream",
    **dict.fromkeys(WRONG_LAST_SEQUENCE, "revision_conflict"),
}
_UNAVAILABLE: Final = {10077: "stream_full", 10122: "stream_full", 10047: "storage_full", 10023: "storage_full"}
_LACKING: Final = {"peer offline": "servers_away", "insufficient storage": "storage_full"}
"""What a cluster says with NO_SERVERS when there would be enough: if all were up, or had room (as far as a leader
knows that was only just elected)."""
_FRACTION = re.compile(r"(\.\d{6})\d+")
_STATUS: Final = {"no_stream": 404, "no_consumer": 404, "too_large": 413, "revision_conflict": 409}


class ApiError(msgspec.Struct):
    """The error of an answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Acknowledgement(msgspec.Struct):
    """The stream's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


class _Failed(msgspec.Struct):
    error: ApiError | None = None


_acknowledgement = msgspec.json.Decoder(Acknowledgement)
_failed = msgspec.json.Decoder(_Failed)
_anything = msgspec.json.Decoder(dict[str, Any])


def published(body: bytes) -> ports.Published:
    """Read a publish acknowledgement. Raises what `reaction` says for a refusal."""
    try:
        answer = _acknowledgement.decode(body)
    except msgspec.MsgspecError:
        raise errors.Unavailable("bad_answer", "a publish was answered by something that is not JetStream") from None
    if answer.error is not None:
        raise reaction(answer.error)
    return ports.Published(answer.stream, answer.seq, answer.duplicate)


def result(body: bytes) -> dict[str, Any]:
    """Read an answer of the JetStream API. Raises what `reaction` says for an error."""
    try:
        failed = _failed.decode(body)
        if failed.error is None:
            return _anything.decode(body)
    except msgspec.MsgspecError:
        raise errors.Unavailable("bad_answer", "the JetStream API answered something that is not JSON") from None
    raise reaction(failed.error)


def stream_state(info: dict[str, Any]) -> ports.StreamState:
    """Where a stream is, from what the server says about it."""
    state = info["state"]
    cluster: dict[str, Any] = info.get("cluster") or {}
    return ports.StreamState(
        created=_moment(info["created"]),
        first=int(state["first_seq"]),
        last=int(state["last_seq"]),
        messages=int(state["messages"]),
        size_bytes=int(state["bytes"]),
        oldest=_moment(state["first_ts"]) if state["messages"] else None,
        leader=cluster.get("leader", ""),
        peers=tuple(
            ports.Peer(peer["name"], bool(peer.get("current")) and not peer.get("offline"), int(peer.get("lag", 0)))
            for peer in cluster.get("replicas") or ()
        ),
        moving=_moving(cluster),
    )


def _moving(cluster: Mapping[str, Any]) -> str:
    """What is being done about a stream's copies; a cluster has `desired` (since 2.15) until all of it is done."""
    if "desired" in cluster:
        return cluster["desired"].get("status", {}).get("description", "choosing servers")
    return "" if not cluster or cluster.get("leader") else "electing a leader"


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A message as its stream keeps it: a delivery to nobody, with nothing to settle."""

    stream: str
    subject: str
    sequence: int
    at: datetime
    headers: Mapping[str, str]
    body: bytes
    consumer: str = ""
    deliveries: int = 1
    session: int = 0

    async def ack(self) -> None:
        """Nothing: nobody holds it."""

    async def retry(self, delay_s: float) -> None:
        """Nothing: nobody holds it."""

    async def terminate(self) -> None:
        """Nothing: nobody holds it."""

    async def extend(self) -> None:
        """Nothing: nobody holds it."""


def stored(stream: str, found: Mapping[str, Any]) -> Stored:
    """One message, from the answer that holds it: header block and body in Base64."""
    block = base64.b64decode(found.get("hdrs", "")).decode("utf-8", "replace")
    lines = (line.partition(":") for line in block.split("\r\n")[1:] if line)
    return Stored(
        stream,
        found["subject"],
        int(found["seq"]),
        _moment(found["time"]),
        {name: value.strip() for name, _, value in lines},
        base64.b64decode(found.get("data", "")),
    )


def _moment(text: str) -> datetime:
    """RFC 3339 with up to nine digits of a second, of which Python keeps six."""
    return datetime.fromisoformat(_FRACTION.sub(r"\1", text))


def reaction(error: ApiError) -> errors.PenstockError:
    """The reaction that an error of JetStream asks for: wrong requests are Rejected, the rest is tried again."""
    detail = f"JetStream: {error.description} ({error.err_code})"
    if error.err_code in _UNAVAILABLE:
        return errors.Unavailable(_UNAVAILABLE[error.err_code], detail, after_s=5.0)
    for words, code in _LACKING.items():
        if error.err_code == NO_SERVERS and words in error.description:
            return errors.Unavailable(code, detail, after_s=5.0)
    if error.err_code in _REJECTED:
        code = _REJECTED[error.err_code]
        return errors.Rejected(code, detail, status=_STATUS.get(code, 400))
    if error.code in (400, 404):
        return errors.Rejected("jetstream_refused", detail)
    return errors.Unavailable("jetstream", detail)
