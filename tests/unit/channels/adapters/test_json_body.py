"""A JSON body is read whole or refused with a status, a code and a field, whoever posted it."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_body, json_text


class Shape(msgspec.Struct):
    """Something that a platform posts."""

    name: str = ""
    inner: msgspec.Raw = msgspec.Raw(b"null")


def read(body: bytes, content_type: str = "application/json") -> Any:
    headers = {"content-type": content_type}
    request = ports.WebhookRequest("POST", "/", "", headers, body, datetime(2026, 3, 1, tzinfo=UTC))
    return json_body.read(msgspec.json.Decoder(Shape), request)


def nested(depth: int) -> bytes:
    """An object with lists in it, `depth` levels in all."""
    return b'{"inner":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json"]
)
def test_json_is_json_by_any_of_its_names(content_type: str):
    assert read(b'{"name": "Gr\xc3\xbc\xc3\x9fe"}', content_type).name == "Grüße"


def test_nesting_has_a_bound():
    assert read(nested(json_text.DEPTH)).name == ""
    with pytest.raises(errors.Rejected, match="too_deep"):
        read(nested(json_text.DEPTH + 1))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code", "field"),
    [
        (b"{}", "", 415, "wrong_content_type", "content-type"),
        (b"{}", "text/json", 415, "wrong_content_type", "content-type"),
        (b" " * (json_body.BODY_BYTES + 1), "application/json", 413, "too_large", "body"),
        (b"", "application/json", 400, "bad_json", "body"),
        (b'{"name": "x"', "application/json", 400, "bad_json", "body"),
        (b'{"name": 5}', "application/json", 400, "bad_event", "name"),
        (b'{"name": "\xff"}', "application/json", 400, "bad_text", "name"),
        (b'{"name": "\\u0000"}', "application/json", 400, "bad_text", "name"),
        (b'{"inner": {"deep": "\\ud800"}}', "application/json", 400, "bad_text", "inner.deep"),
    ],
)
def test_what_cannot_be_read_is_refused_naming_the_field(
    body: bytes, content_type: str, status: int, code: str, field: str
):
    with pytest.raises(errors.Rejected) as caught:
        read(body, content_type)
    assert (caught.value.status, caught.value.code, caught.value.field) == (status, code, field)
    assert len(str(caught.value)) < 300


def test_a_part_is_refused_by_its_whole_path():
    with pytest.raises(errors.Rejected) as caught:
        json_body.fields(msgspec.json.Decoder(Shape), msgspec.Raw(b'{"name": []}'), "events[3].data")
    assert caught.value.field == "events[3].data.name"
