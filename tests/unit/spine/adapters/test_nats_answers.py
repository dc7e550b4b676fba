"""What JetStream answers becomes a result or one of the reactions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import nats_answers


def failing(code: int, err_code: int) -> bytes:
    return json.dumps({"error": {"code": code, "err_code": err_code, "description": "because"}}).encode()


def test_an_acknowledgement_is_read() -> None:
    assert nats_answers.published(b'{"stream":"S","seq":7}') == ports.Published("S", 7, duplicate=False)
    assert nats_answers.published(b'{"stream":"S","domain":"hub","seq":7,"duplicate": true}').duplicate


@pytest.mark.parametrize(
    ("code", "err_code", "reaction", "name"),
    [
        (404, 10059, errors.Rejected, "no_stream"),
        (404, 10014, errors.Rejected, "no_consumer"),
        (400, 10058, errors.Rejected, "stream_exists"),
        (400, 10065, errors.Rejected, "stream_refused"),
        (500, 10074, errors.Rejected, "stream_refused"),
        (400, 10148, errors.Rejected, "consumer_exists"),
        (400, 10100, errors.Rejected, "consumer_refused"),
        (400, 10071, errors.Rejected, "revision_conflict"),
        (400, 10054, errors.Rejected, "too_large"),
        (400, 10003, errors.Rejected, "jetstream_refused"),
        (503, 10077, errors.Unavailable, "stream_full"),
        (500, 10047, errors.Unavailable, "storage_full"),
        (503, 10008, errors.Unavailable, "jetstream"),
        (500, 99999, errors.Unavailable, "jetstream"),
    ],
)
def test_errors_are_named_by_their_reaction(code: int, err_code: int, reaction: type[Exception], name: str) -> None:
    for read in (nats_answers.published, nats_answers.result):
        with pytest.raises(reaction) as raised:
            read(failing(code, err_code))
        assert getattr(raised.value, "code", "") == name
        assert f"because ({err_code})" in str(raised.value)


def test_servers_that_are_only_away_are_waited_for() -> None:
    codes = {"": "stream_refused", ", peer offline": "servers_away", ", insufficient storage": "storage_full"}
    for reason, code in codes.items():
        answer = {"error": {"code": 400, "err_code": 10005, "description": f"no suitable peers for placement{reason}"}}
        with pytest.raises(errors.PenstockError) as raised:
            nats_answers.result(json.dumps(answer).encode())
        assert raised.value.code == code
        assert isinstance(raised.value, errors.Unavailable) is bool(reason)


@given(st.binary(max_size=40))
def test_law_an_answer_that_is_none_is_unavailable(body: bytes) -> None:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        for read in (nats_answers.published, nats_answers.result):
            with pytest.raises(errors.Unavailable):
                read(body)


def test_a_result_is_what_was_said() -> None:
    assert nats_answers.result(b'{"type":"x","streams":["A"],"total":1}') == {"type": "x", "streams": ["A"], "total": 1}
