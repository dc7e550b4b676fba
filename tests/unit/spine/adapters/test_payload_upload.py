"""Whatever is lost on the way into a bucket, what a reader takes is what was put."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import payload_transfer, payload_upload, payloads_nats
from tests.unit.spine.adapters import lossy_link

CHUNK_BYTES = 512
WHOLE = bytes(range(256)) * (12 * CHUNK_BYTES // 256) + b"end"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_transfer, "CHUNK_BYTES", CHUNK_BYTES)
    monkeypatch.setattr(payload_upload, "PAUSE_S", 0.0)
    monkeypatch.setattr(payloads_nats, "SETTLES_S", ())


def store(link: lossy_link.LossyLink, *, deadline_s: float = 60.0) -> payloads_nats.NatsPayloads:
    return payloads_nats.NatsPayloads(payloads_nats.NatsChunks(link, deadline_s=deadline_s))  # type: ignore[arg-type]


async def there_and_back(link: lossy_link.LossyLink) -> bytes:
    over = store(link)
    reference = await over.put("parser", "acme", WHOLE, payload.Terms(60))
    return b"".join([piece async for piece in over.get("acme", reference)])


@given(st.lists(st.sampled_from(lossy_link.FATES), max_size=60))
async def test_law_whatever_is_lost_what_is_read_is_what_was_put(fates: list[str]) -> None:
    link = lossy_link.LossyLink(iter(fates))
    assert await there_and_back(link) == WHOLE
    assert link.most_unanswered <= payload_upload.WINDOW
    described = [body for subject, body in link.stored if ".M." in subject]
    assert described
    assert b'"chunks":13' in described[-1]


async def test_every_message_has_its_lifetime_in_whole_seconds() -> None:
    link = lossy_link.LossyLink(iter(()))
    await store(link).put("parser", "acme", b"x", payload.Terms(59.2))
    assert link.blocks == [b"NATS/1.0\r\nNats-TTL: 60s\r\n\r\n"] * 2


@pytest.mark.parametrize(
    ("fate", "code"),
    [("unheard", "timeout"), ("nobody", "bucket_away"), ("refused", "jetstream"), ("away", "disconnected")],
)
async def test_what_stays_away_is_unavailable(fate: str, code: str) -> None:
    link = lossy_link.LossyLink(itertools.repeat(fate))
    with pytest.raises(errors.Unavailable) as failed:
        await store(link, deadline_s=0.02).put("parser", "acme", WHOLE, payload.Terms(60))
    assert failed.value.code == code
