"""References: what travels and what never does, who may use one, and what a finished job leaves."""

import asyncio
import dataclasses
from datetime import UTC, datetime

import pytest

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import payloads_memory

REFERENCE = payload.Reference(
    "jobs_parser", "acme_0123", 7, "ab" * 32, datetime(2026, 11, 21, 12, 0, 0, 5000, tzinfo=UTC), bytes(range(32))
)


def test_a_reference_travels_and_comes_back_with_the_key_apart() -> None:
    message = REFERENCE.to_message()
    assert payload.of_message(message, REFERENCE.key) == REFERENCE
    assert REFERENCE.key not in message.SerializeToString()


def test_nothing_that_prints_shows_a_key() -> None:
    for shown in (repr(REFERENCE), repr(payload.Terms(1, key=REFERENCE.key))):
        assert REFERENCE.key.hex() not in shown
        assert repr(REFERENCE.key) not in shown


@pytest.mark.parametrize("tenant", ["twin", "acm", "acme-2"])
def test_another_tenants_is_like_one_that_is_not_there(tenant: str) -> None:
    payload.check_owner("acme", REFERENCE)
    with pytest.raises(errors.Rejected) as refused:
        payload.check_owner(tenant, REFERENCE)
    assert (refused.value.code, refused.value.status, refused.value.detail) == (
        "no_payload",
        404,
        payload.missing().detail,
    )


@pytest.mark.parametrize(
    "changes", [{"name": "acme_*"}, {"name": "acme_a.b"}, {"name": "acme"}, {"name": ""}, {"bucket": "a.>"}]
)
def test_what_is_no_token_reaches_no_subject(changes: dict[str, str]) -> None:
    with pytest.raises(errors.Rejected) as refused:
        payload.check_owner("acme", dataclasses.replace(REFERENCE, **changes))  # type: ignore[arg-type]
    assert refused.value.code in {"bad_token", "no_payload"}


def test_names_are_tokens_of_their_tenant_and_never_the_same() -> None:
    names = {payload.new_name("acme-2") for _ in range(100)}
    assert len(names) == 100
    for name in names:
        payload.check_owner("acme-2", dataclasses.replace(REFERENCE, name=name))


@pytest.mark.parametrize("component", ["a.b", "*", "A", ""])
def test_a_bucket_is_of_a_slug(component: str) -> None:
    assert payload.BucketPolicy("parser").name == payload.bucket_of("parser") == "jobs_parser"
    with pytest.raises(errors.Rejected):
        payload.bucket_of(component)


async def test_discarding_goes_on_after_a_failure_and_tells_it() -> None:
    store = payloads_memory.MemoryPayloads(deadline_s=0.01)
    await store.provide(payload.BucketPolicy("parser"))
    kept = [await store.put("parser", "acme", b"x", payload.Terms(60)) for _ in range(3)]
    foreign = dataclasses.replace(kept[1], name=kept[1].name.replace("acme", "twin"))
    with pytest.raises(errors.Rejected) as refused:
        await payload.discard(store, "acme", [kept[0], foreign, kept[2]])
    assert refused.value.code == "no_payload"
    left = [reference for reference in kept if [piece async for piece in _quiet(store, reference)]]
    assert left == [kept[1]]
    await asyncio.gather(*(payload.discard(store, "acme", kept) for _ in range(2)))
    await payload.discard(store, "acme", [])


async def _quiet(store: payload.Payloads, reference: payload.Reference):
    try:
        async for piece in store.get("acme", reference):
            yield piece
    except errors.Rejected:
        return
