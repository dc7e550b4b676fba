"""Commands: one receipt each, and nothing sent twice but what its receipt calls ambiguous."""

import asyncio
from datetime import timedelta

import pytest

from penstock.base import context as contexts
from penstock.base import errors
from penstock.channels import ports
from penstock.channels.service import outbound
from penstock.channels.settings import ChannelsSettings
from penstock.messages.v1 import outbound_pb2
from tests.unit.channels import fakes

REPORT = outbound_pb2.ON_AMBIGUOUS_REPORT
SENT, REJECTED = outbound_pb2.RECEIPT_STATUS_SENT, outbound_pb2.RECEIPT_STATUS_REJECTED
EXPIRED, UNKNOWN = outbound_pb2.RECEIPT_STATUS_EXPIRED, outbound_pb2.RECEIPT_STATUS_UNKNOWN
AWAY, LOST = errors.Unavailable("busy", "busy", after_s=7), ports.Ambiguous("lost", "lost", after_s=2)
CONTEXT = contexts.start(fakes.ACME)


class House:
    """Tables and a platform that outlive the process; `restart` is the process dying and another one starting."""

    def __init__(self) -> None:
        self.platform, self.terminal = fakes.Platform(), fakes.Platform("terminal")
        self.book = fakes.Book(
            fakes.account(),
            fakes.account(fakes.BETA, "b"),
            fakes.account(letter="t", channel="terminal"),
            fakes.account(letter="d", disabled=True),
        )
        self.tenants = fakes.Tenants(fakes.ACME, fakes.BETA)
        self.table = fakes.CommandTable()
        self.clock = fakes.clock()
        self.woken: list[str] = []
        self.limits = ChannelsSettings()
        self.restart()

    def restart(self) -> None:
        where = fakes.where(self.book, self.tenants, self.platform, self.terminal)
        self.service = outbound.Outbound(
            where, self.table, limits=self.limits, clock=self.clock, said=self.woken.append
        )

    async def perform(self, command: outbound_pb2.SendCommand | None = None) -> None:
        await self.service.perform(CONTEXT, command or fakes.command())

    async def until_done(self, command: outbound_pb2.SendCommand, *, tries: int = 10) -> None:
        """As the worker does: the same delivery again after Unavailable."""
        for _ in range(tries):
            try:
                return await self.perform(command)
            except errors.Unavailable:
                continue
        raise AssertionError("still unavailable")

    @property
    def receipt(self) -> outbound_pb2.Receipt:
        (only,) = self.table.receipts
        return only


@pytest.fixture
def house() -> House:
    return House()


async def test_a_command_is_sent_once_and_told_once(house: House):
    await house.perform(fakes.command(cause_event_id="e9"))
    await house.perform(fakes.command(cause_event_id="e9"))
    assert len(house.platform.sent) == 1
    told = house.receipt
    assert (told.status, told.message_id, told.attempts, told.ambiguous) == (SENT, "m1", 1, False)
    assert (told.cause_event_id, told.account) == ("e9", fakes.account_id())


async def test_the_same_answer_asked_for_again_later_is_the_same_command(house: House):
    again = fakes.command()
    again.created_at.FromDatetime(fakes.NOW + timedelta(hours=1))
    await house.perform()
    await house.perform(again)
    assert len(house.platform.sent) == 1


async def test_other_words_under_the_same_id_are_a_conflict_and_the_first_stands(house: House):
    await house.perform()
    with pytest.raises(errors.Rejected) as caught:
        await house.perform(fakes.command(text="other words"))
    assert caught.value.code == "command_conflict"
    assert len(house.platform.sent) == 1
    assert house.receipt.status == SENT


async def test_two_tenants_may_use_one_command_id(house: House):
    await house.perform()
    await house.service.perform(contexts.start(fakes.BETA), fakes.command(tenant="beta", account=fakes.account_id("b")))
    assert [r.tenant for r in house.table.receipts] == ["acme", "beta"]
    assert len(house.platform.sent) == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"account": fakes.account_id("b")}, "no_account"),
        ({"account": fakes.account_id("z")}, "no_account"),
        ({"channel": "nowhere"}, "no_account"),
        ({"channel": "terminal"}, "no_account"),
        ({"account": fakes.account_id("d")}, "account_disabled"),
        ({"text": ""}, "empty"),
    ],
)
async def test_what_must_not_be_sent_is_told_and_never_sent(house: House, fields: dict[str, str], code: str):
    await house.perform(fakes.command(**fields))
    assert not house.platform.sent
    assert (house.receipt.status, house.receipt.code, house.receipt.attempts) == (REJECTED, code, 0)


async def test_a_foreign_account_is_told_like_one_that_does_not_exist(house: House):
    await house.perform(fakes.command("c1", account=fakes.account_id("b")))
    await house.perform(fakes.command("c2", account=fakes.account_id("z")))
    foreign, missing = house.table.receipts
    assert (foreign.code, foreign.detail) == (missing.code, missing.detail)


async def test_an_account_without_secrets_sends_nothing(house: House):
    house.book.secrets = ()
    await house.perform()
    assert (house.receipt.code, house.platform.sent) == ("no_secret", [])


async def test_capabilities_are_enforced(house: House):
    house.platform.capabilities = outbound_pb2.Capabilities(text_limit=1)
    await house.perform()
    assert (house.receipt.status, house.receipt.code) == (REJECTED, "unsupported")


async def test_expired_is_told_as_expired(house: House):
    late = fakes.command()
    late.expires_at.FromDatetime(fakes.NOW)
    await house.perform(late)
    assert (house.receipt.status, house.platform.sent) == (EXPIRED, [])


async def test_a_suspended_tenant_waits_and_loses_nothing(house: House):
    house.tenants.states[fakes.ACME] = "suspended"
    with pytest.raises(errors.Unavailable) as caught:
        await house.perform()
    assert (caught.value.code, caught.value.after_s) == ("tenant_suspended", 30.0)
    house.tenants.states[fakes.ACME] = "active"
    await house.perform()
    assert house.receipt.status == SENT


async def test_a_platform_that_cannot_now_is_asked_again_and_nothing_is_ambiguous(house: House):
    house.platform.answers = [AWAY, AWAY]
    with pytest.raises(errors.Unavailable) as caught:
        await house.perform()
    assert (caught.value.code, caught.value.after_s) == ("busy", 7)
    house.restart()
    await house.until_done(fakes.command())
    assert (house.receipt.status, house.receipt.attempts, house.receipt.ambiguous) == (SENT, 3, False)


async def test_a_platform_that_refuses_is_told(house: House):
    house.platform.answers = [errors.Rejected("blocked", "the person left")]
    await house.perform()
    assert (house.receipt.status, house.receipt.code, house.receipt.attempts) == (REJECTED, "blocked", 1)


# The process dies at each point between claiming and acknowledging.


async def test_killed_after_the_claim_before_sending(house: House):
    """Nobody can know that it was not sent, so it is sent and called ambiguous."""
    await house.table.claim(fakes.command(), holder="the dead", sending=True)
    await house.perform()
    assert len(house.platform.sent) == 1
    assert (house.receipt.status, house.receipt.ambiguous, house.receipt.attempts) == (SENT, True, 2)


async def test_killed_after_sending_before_storing(house: House):
    house.table.refuse_finishes = 1
    with pytest.raises(errors.Unavailable):
        await house.perform()
    house.restart()
    await house.perform()
    assert len(house.platform.sent) == 2
    assert (house.receipt.status, house.receipt.ambiguous, house.receipt.attempts) == (SENT, True, 2)


async def test_killed_after_sending_when_only_a_report_is_wanted(house: House):
    command = fakes.command(on_ambiguous=REPORT)
    house.table.refuse_finishes = 1
    with pytest.raises(errors.Unavailable):
        await house.perform(command)
    house.restart()
    await house.perform(command)
    assert len(house.platform.sent) == 1
    assert (house.receipt.status, house.receipt.ambiguous, house.receipt.attempts) == (UNKNOWN, True, 1)


async def test_killed_after_storing_before_acknowledging(house: House):
    await house.perform()
    house.restart()
    await house.perform()
    assert len(house.platform.sent) == 1
    assert house.receipt.ambiguous is False


async def test_killed_twice_while_sending_ends_unknown(house: House):
    for holder in ("the dead", "the next dead"):
        await house.table.claim(fakes.command(), holder=holder, sending=True)
    await house.perform()
    assert not house.platform.sent
    assert (house.receipt.status, house.receipt.attempts) == (UNKNOWN, 2)


async def test_killed_while_sending_and_expired_since_is_unknown_not_expired(house: House):
    command = fakes.command()
    command.expires_at.FromDatetime(fakes.NOW + timedelta(seconds=60))
    await house.table.claim(command, holder="the dead", sending=True)
    await house.clock.advance(61)
    await house.perform(command)
    assert (house.receipt.status, house.receipt.code, house.receipt.ambiguous) == (UNKNOWN, "expired", True)


async def test_killed_while_refusing_is_refused_as_before(house: House):
    command = fakes.command(account=fakes.account_id("z"))
    await house.table.claim(command, holder="the dead", sending=False)
    await house.perform(command)
    assert (house.receipt.status, house.receipt.ambiguous) == (REJECTED, False)


async def test_a_slow_holder_is_fenced_by_the_one_that_took_over(house: House):
    """Two processes at once: one receipt, and it says ambiguous."""
    slow = house.service
    gate, entered = asyncio.Event(), asyncio.Event()
    original = house.platform.send

    async def held(*arguments: object) -> ports.Sent:
        entered.set()
        await gate.wait()
        return await original(*arguments)  # type: ignore[arg-type]

    house.platform.send = held  # type: ignore[method-assign]
    first = asyncio.create_task(slow.perform(CONTEXT, fakes.command()))
    await entered.wait()
    house.platform.send = original  # type: ignore[method-assign]
    house.restart()
    await house.perform()
    gate.set()
    await first
    assert (house.receipt.status, house.receipt.ambiguous) == (SENT, True)


# The process lives: what it knows is never ambiguous.


async def test_what_was_sent_but_could_not_be_stored_is_not_sent_again(house: House):
    house.table.refuse_finishes = 5
    await house.until_done(fakes.command())
    assert len(house.platform.sent) == 1
    assert (house.receipt.status, house.receipt.ambiguous, house.receipt.attempts) == (SENT, False, 1)


async def test_other_words_under_the_id_of_what_could_not_be_stored_do_not_take_its_receipt(house: House):
    house.table.refuse_finishes = 1
    with pytest.raises(errors.Unavailable):
        await house.perform()
    with pytest.raises(errors.Rejected) as caught:
        await house.perform(fakes.command(text="other words", conversation="elsewhere"))
    assert caught.value.code == "command_conflict"
    await house.perform()
    assert (house.receipt.status, house.receipt.conversation) == (SENT, fakes.command().conversation)


async def test_a_store_that_committed_without_saying_so_changes_nothing(house: House):
    house.table.lose_finishes = 1
    await house.until_done(fakes.command())
    assert len(house.platform.sent) == 1
    assert house.receipt.attempts == 1


async def test_a_claim_that_committed_without_saying_so_is_no_attempt(house: House):
    house.table.lose_claims, house.table.refuse_claims = 1, 0
    await house.until_done(fakes.command(on_ambiguous=REPORT))
    assert (house.receipt.status, house.receipt.attempts, house.receipt.ambiguous) == (SENT, 1, False)


async def test_nothing_is_sent_while_it_cannot_be_claimed(house: House):
    house.table.refuse_claims = 3
    for _ in range(3):
        with pytest.raises(errors.Unavailable):
            await house.perform()
    assert not house.platform.sent
    house.book.away = True
    with pytest.raises(errors.Unavailable):
        await house.perform()
    assert not house.platform.sent


async def test_no_answer_is_resent_once_and_called_ambiguous(house: House):
    house.platform.answers = [LOST]
    with pytest.raises(errors.Unavailable) as caught:
        await house.perform()
    assert caught.value.after_s == 2
    await house.perform()
    assert (house.receipt.status, house.receipt.ambiguous, house.receipt.attempts) == (SENT, True, 2)


async def test_no_answer_twice_ends_unknown(house: House):
    house.platform.answers = [LOST, LOST, ports.Sent("never")]
    await house.until_done(fakes.command())
    assert len(house.platform.sent) == 2
    assert (house.receipt.status, house.receipt.code) == (UNKNOWN, "ambiguous")


async def test_no_answer_is_only_reported_when_the_command_says_so(house: House):
    house.platform.answers = [LOST]
    await house.perform(fakes.command(on_ambiguous=REPORT))
    assert (len(house.platform.sent), house.receipt.status) == (1, UNKNOWN)


async def test_a_platform_that_never_answers_is_given_up_in_time(house: House):
    house.limits = ChannelsSettings(send_deadline_s=0.1)
    house.restart()

    async def silent(*_: object) -> ports.Sent:
        await asyncio.Event().wait()
        raise AssertionError

    house.platform.send = silent  # type: ignore[method-assign]
    await house.perform(fakes.command(on_ambiguous=REPORT))
    assert house.receipt.status == UNKNOWN


async def test_a_bug_in_an_adapter_sends_at_most_twice(house: House):
    house.platform.answers = [RuntimeError("bug"), RuntimeError("bug"), RuntimeError("bug")]
    await house.until_done(fakes.command())
    assert (len(house.platform.sent), house.receipt.status) == (2, UNKNOWN)


async def test_an_interrupted_send_is_ambiguous_to_this_process_too(house: House):
    entered = asyncio.Event()
    original = house.platform.send

    async def held(*_: object) -> ports.Sent:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    house.platform.send = held  # type: ignore[method-assign]
    task = asyncio.create_task(house.perform())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    house.platform.send = original  # type: ignore[method-assign]
    await house.until_done(fakes.command())
    assert (house.receipt.status, house.receipt.ambiguous, house.receipt.attempts) == (SENT, True, 2)


async def test_a_terminal_is_woken_once_its_reply_can_be_read(house: House):
    await house.perform(fakes.command(channel="terminal", account=fakes.account_id("t")))
    assert house.woken == [fakes.account_id("t")]
    assert [reply.sequence for reply in house.table.said] == [1]
    await house.perform(fakes.command("c2"))
    assert len(house.woken) == 1


async def test_an_id_that_cannot_be_stored_is_poison(house: House):
    with pytest.raises(errors.Poisoned):
        await house.perform(fakes.command(""))
    assert not house.table.rows


def edit(target: str = "c1", **fields: str) -> outbound_pb2.SendCommand:
    command = fakes.command("c2", "better", target_command_id=target, **fields)
    command.relation.edit.SetInParent()
    return command


async def test_an_app_changes_what_it_said_by_its_command(house: House):
    await house.perform(fakes.command())
    await house.perform(edit())
    _, changed = house.platform.sent
    assert (changed.relation.edit.message_id, changed.text) == ("m1", "better")
    assert [told.status for told in house.table.receipts] == [SENT, SENT]


async def test_what_was_never_said_cannot_be_changed(house: House):
    await house.perform(edit("unknown"))
    assert house.platform.sent == []
    assert (house.receipt.status, house.receipt.code) == (REJECTED, "no_target")
