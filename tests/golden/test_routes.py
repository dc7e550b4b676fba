"""What travels: subject, headers, message id, key and body of every publish route, byte by byte.

Other processes, of other versions, read this. `REFRESH=1 pytest tests/golden/test_routes.py` writes the files; the
change then shows in review, and a change of anything but an added field breaks somebody.
"""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import message as protobuf
from google.protobuf import text_format

from penstock.base import context as contexts
from penstock.spine import route
from tests.golden import samples

FOLDER = Path(__file__).with_name("routes")
ROUTES = [pytest.param(each, id=each.name) for each in route.ROUTES]

UNKNOWN = bytes.fromhex("c0be05 07") + bytes.fromhex("cabe05 05") + b"later"
"""Two fields that no message has yet: 11240 as a number and 11241 as text."""


def portrait(each: route.Route[Any]) -> dict[str, Any]:
    outgoing = each.encode(samples.CONTEXT, samples.MESSAGES[each.name])
    return {
        "route": each.name,
        "stream": outgoing.stream,
        "subject": outgoing.subject,
        "key": outgoing.key,
        "headers": dict(outgoing.headers),
        "body_base64": base64.b64encode(outgoing.body).decode(),
        "body_text": text_format.MessageToString(samples.MESSAGES[each.name], as_utf8=True).splitlines(),
    }


@pytest.mark.parametrize("each", ROUTES)
def test_a_route_is_what_was_promised(each: route.Route[Any]) -> None:
    path = FOLDER / f"{each.name}.json"
    drawn = portrait(each)
    if os.environ.get("REFRESH"):
        path.write_text(json.dumps(drawn, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert path.is_file(), f"route {each.name} has no golden; see the head of this file"
    assert drawn == json.loads(path.read_text(encoding="utf-8"))


def test_there_is_a_golden_for_every_route_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {each.name for each in route.ROUTES}
    assert set(samples.MESSAGES) == {each.name for each in route.ROUTES}


@pytest.mark.parametrize("each", ROUTES)
def test_a_golden_is_read_by_this_version(each: route.Route[Any]) -> None:
    promised = json.loads((FOLDER / f"{each.name}.json").read_text(encoding="utf-8"))
    read = each.decode(promised["headers"], base64.b64decode(promised["body_base64"]))
    assert read == samples.MESSAGES[each.name]
    assert text_format.Parse("\n".join(promised["body_text"]), each.message_type()) == read


@pytest.mark.parametrize("each", ROUTES)
def test_every_field_of_a_sample_is_set(each: route.Route[Any]) -> None:
    assert list(_unset(samples.MESSAGES[each.name])) == []


def _unset(message: protobuf.Message) -> Iterator[str]:
    """The fields that are not set, however deep; of a oneof one has to be."""
    present = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is None and field.name not in present:
            yield f"{message.DESCRIPTOR.name}.{field.name}"
    for oneof in message.DESCRIPTOR.oneofs:
        if message.WhichOneof(oneof.name) is None:
            yield f"{message.DESCRIPTOR.name}.{oneof.name}"
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else [value]:
                yield from _unset(inner)


@pytest.mark.parametrize("each", ROUTES)
def test_unknown_fields_are_tolerated_and_kept(each: route.Route[Any]) -> None:
    sample = samples.MESSAGES[each.name]
    read = each.decode({}, sample.SerializeToString() + UNKNOWN)
    assert {field.name: value for field, value in read.ListFields()} == {
        field.name: value for field, value in sample.ListFields()
    }
    assert UNKNOWN in read.SerializeToString()


@pytest.mark.parametrize("each", ROUTES)
def test_missing_fields_are_tolerated(each: route.Route[Any]) -> None:
    for field in each.message_type.DESCRIPTOR.fields:
        fewer = each.message_type()
        fewer.CopyFrom(samples.MESSAGES[each.name])
        fewer.ClearField(field.name)
        assert each.decode({}, fewer.SerializeToString()) == fewer
    assert each.decode({}, b"") == each.message_type()


@pytest.mark.parametrize("each", ROUTES)
def test_headers_carry_tenant_correlation_trace_id_and_type(each: route.Route[Any]) -> None:
    headers = each.encode(samples.CONTEXT, samples.MESSAGES[each.name]).headers
    assert headers[contexts.TENANT] == "acme"
    assert headers[contexts.CORRELATION] == samples.CONTEXT.correlation_id
    assert contexts.parse_traceparent(headers[contexts.TRACEPARENT]) == (
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "00f067aa0ba902b7",
        True,
    )
    assert headers[contexts.MESSAGE_TYPE] == each.message_type.DESCRIPTOR.full_name
    assert headers[contexts.MESSAGE_ID].startswith("acme:" if each.stream else "penstock:")
    second_names = {contexts.CORRELATION_PLAIN, contexts.TRACE} & set(headers)
    assert bool(second_names) == (each.stream is not None and each.stream.outsiders)
