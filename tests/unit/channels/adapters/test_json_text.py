"""What is wrong with the text of a body is found and named, at a price that the body's size bounds."""

import json
import re
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels.adapters import json_text


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ("a\0", "body"),
        ({"a": {"b": ["x", "y\0"]}}, "a.b[1]"),
        ([{"a": 1}, {"b\0": 1}], "[1].b\\x00"),
        ({"a": {"\ud800": {"c": "d\0"}}}, "a.\\ud800"),
        ({"x" * 60: "\udfff"}, "x" * 40),
        ({"a": ["x", {"b": []}, {}], "c": "d\0"}, "c"),
    ],
)
def test_the_first_bad_text_is_named_by_its_path(document: object, path: str) -> None:
    with pytest.raises(errors.Rejected) as caught:
        json_text.check_text(json.dumps(document).encode())
    assert (caught.value.code, caught.value.field) == ("bad_text", path)


def test_a_long_path_is_cut_short() -> None:
    document: object = "bad\0"
    for _ in range(300):
        document = {"name" * 10: document}
    with pytest.raises(errors.Rejected) as caught:
        json_text.check_text(json.dumps(document).encode())
    assert len(caught.value.field) < 250


def test_many_texts_under_long_names_cost_little_memory() -> None:
    name = "n" * 40
    body = (f'{{"{name}":' * 100 + "[" + '"",' * 20_000 + '"\\ud83d\\ude00"]' + "}" * 100).encode()
    tracemalloc.start()
    try:
        json_text.check_text(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(body)


class Partly(msgspec.Struct):
    """A document of which one part is read, one kept raw and the rest skipped."""

    read: str = ""
    raw: msgspec.Raw = msgspec.Raw(b"")


@given(
    st.lists(
        st.sampled_from(["\\ud83d", "\\udc4d", "\\uD800", "\\udfff", "x", "\\u0041", "\\n", "é", "\\\\"]), max_size=6
    ),
    st.sampled_from(['{"read": "%s"}', '{"raw": ["%s"]}', '{"%s": 1}', '{"skipped": {"deep": ["%s"]}}']),
)
def test_lone_surrogates_need_no_second_look(parts: list[str], where: str) -> None:
    raw = where % "".join(parts)
    alone = re.search("[\ud800-\udfff]", json.dumps(json.loads(raw), ensure_ascii=False)) is not None
    try:
        msgspec.json.decode(raw, type=Partly)
        read = True
    except msgspec.DecodeError:
        read = False
    assert read is not alone
