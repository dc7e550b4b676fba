"""Promises of `Channel.send`: who calls it knows whether the platform took it, or that nobody can know."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.base import errors, ids
from penstock.channels import ports
from penstock.channels.testing import trial
from penstock.messages.v1 import outbound_pb2


async def sends_once(described: trial.Trial) -> None:
    """What is sent arrives once, and the platform's id for it comes back."""
    conversation, command = _command(described, "hello, Grüße, 你好 👋🏽")
    sent = await _send(described, trial.How.WELL, command)
    assert _taken(described, conversation) == [(sent.message_id, command.text)]


async def sends_many_at_once(described: trial.Trial) -> None:
    """Fifty sends at once arrive once each, and each gets its own message's id."""
    pairs = [_command(described, f"message {number}") for number in range(50)]
    await _platform(described).behave(trial.How.WELL)
    credentials = described.credentials
    sends = [described.channel.send(described.account, credentials, command) for _, command in pairs]
    for (conversation, command), sent in zip(pairs, await asyncio.gather(*sends), strict=True):
        assert _taken(described, conversation) == [(sent.message_id, command.text)], command.text


async def refuses_to_send_without_secrets(described: trial.Trial) -> None:
    """Without a secret nothing leaves."""
    conversation, command = _command(described, "unsigned")
    await _platform(described).behave(trial.How.WELL)
    try:
        await described.channel.send(described.account, ports.Credentials(()), command)
    except errors.Rejected:
        assert not _taken(described, conversation), "it was sent"
        return
    raise AssertionError("it was sent")


async def waits_as_told_when_throttled(described: trial.Trial) -> None:
    """Too many requests: Unavailable for as long as the platform says, throttled, and certainly not taken."""
    error = await _failure(described, trial.How.THROTTLED, errors.Unavailable)
    assert not isinstance(error, ports.Ambiguous), "it was certainly not taken, so it is not ambiguous"
    assert isinstance(error, errors.Unavailable)
    assert error.throttled, "throttled is not set"
    told_s = trial.THROTTLED_S
    assert told_s - 1 <= error.after_s <= told_s + 1, f"told to wait {told_s} s, it says {error.after_s} s"


async def tries_later_when_platform_fails(described: trial.Trial) -> None:
    """An error of the platform's own: Unavailable, with a pause that is neither nothing nor for ever."""
    error = await _failure(described, trial.How.FAILING, errors.Unavailable)
    assert isinstance(error, errors.Unavailable)
    assert not isinstance(error, ports.Ambiguous), "the platform said that it failed"
    assert 0 < error.after_s <= 3600, f"after_s is {error.after_s}"


async def tries_later_when_platform_is_down(described: trial.Trial) -> None:
    """Nobody listens: nothing was written, so it is Unavailable and not Ambiguous."""
    error = await _failure(described, trial.How.DOWN, errors.Unavailable)
    assert not isinstance(error, ports.Ambiguous), "nothing can have been taken"


async def gives_up_when_refused(described: trial.Trial) -> None:
    """The platform says that the message is wrong: Rejected, for good."""
    await _failure(described, trial.How.REFUSING, errors.Rejected)


async def admits_not_knowing_when_slow(described: trial.Trial) -> None:
    """No answer in time: Ambiguous, because it may have been taken."""
    await _failure(described, trial.How.SLOW, ports.Ambiguous)


async def admits_not_knowing_when_cut(described: trial.Trial) -> None:
    """The connection ends after the request was written: Ambiguous, because it may have been taken."""
    await _failure(described, trial.How.CUT, ports.Ambiguous)


async def resends_recognisably(described: trial.Trial) -> None:
    """The same command sent again after a cut is recognised by the platform: people see it once."""
    conversation, command = _command(described, "once only")
    with contextlib.suppress(ports.Ambiguous):
        await _send(described, trial.How.CUT, command)
    sent = await _send(described, trial.How.WELL, command)
    assert _taken(described, conversation) == [(sent.message_id, command.text)]


async def lets_go_when_cancelled(described: trial.Trial) -> None:
    """A send that is cancelled ends at once, and later ones are answered with their own answers."""
    _, slow = _command(described, "cancelled")
    await _platform(described).behave(trial.How.SLOW)
    task = asyncio.ensure_future(described.channel.send(described.account, described.credentials, slow))
    await asyncio.wait([task], timeout=0.05)
    task.cancel()
    await asyncio.wait([task], timeout=20.0)
    assert task.cancelled(), "it went on, or hid that it was cancelled"
    await sends_once(described)


async def closes_twice(described: trial.Trial) -> None:
    """Closing again is fine."""
    await described.channel.close()
    await described.channel.close()


async def _failure(
    described: trial.Trial, how: trial.How, expected: type[errors.PenstockError]
) -> errors.PenstockError:
    """The error of one send; afterwards, the same channel sends well again."""
    _, command = _command(described, f"while {how}")
    try:
        await _send(described, how, command)
    except expected as error:
        text = f"{error!r} {error}"
        assert error.code and error.detail, "the error has no code or no sentence"
        for secret in (*described.secrets, *described.tokens):
            assert secret.reveal() not in text, "the error quotes a secret"
        for value in described.account.config.values():
            assert value not in text, "the error quotes the account's configuration"
        assert command.text not in text, "the error quotes what was said"
        await sends_once(described)
        return error
    raise AssertionError("it says that it was sent")


async def _send(described: trial.Trial, how: trial.How, command: outbound_pb2.SendCommand) -> ports.Sent:
    await _platform(described).behave(how)
    return await described.channel.send(described.account, described.credentials, command)


def _command(described: trial.Trial, text: str) -> tuple[str, outbound_pb2.SendCommand]:
    account = described.account
    conversation = described.conversation()
    return conversation, outbound_pb2.SendCommand(
        command_id=ids.new_id(),
        tenant=account.tenant,
        channel=account.channel,
        account=account.id,
        conversation=conversation,
        text=text,
        app="conformance",
    )


def _platform(described: trial.Trial) -> trial.Platform:
    assert described.platform is not None, "the trial has no platform; excuse the promise if there is none"
    return described.platform


def _taken(described: trial.Trial, conversation: str) -> list[tuple[str, str]]:
    return list(_platform(described).taken(conversation))


PROMISES: Final[tuple[Callable[[trial.Trial], Awaitable[None]], ...]] = (
    sends_once,
    sends_many_at_once,
    refuses_to_send_without_secrets,
    waits_as_told_when_throttled,
    tries_later_when_platform_fails,
    tries_later_when_platform_is_down,
    gives_up_when_refused,
    admits_not_knowing_when_slow,
    admits_not_knowing_when_cut,
    resends_recognisably,
    lets_go_when_cancelled,
    closes_twice,
)
