"""What can go wrong in this room, named once, on the four reactions."""

from penstock.base import errors


def no_account() -> errors.Rejected:
    """Nobody has that account on that channel; the same words whether the channel, the id or its form is wrong."""
    return errors.Rejected(
        "no_account",
        "there is no such account on this channel",
        hint="List them with 'penstock account ls'.",
        status=404,
        field="account",
    )


def account_disabled() -> errors.Rejected:
    """Only who knows the account's id hears this, and 403 says to a platform: do not try again."""
    return errors.Rejected(
        "account_disabled",
        "this account is disabled",
        hint="Enable it with 'penstock account enable'.",
        status=403,
        field="account",
    )


def no_secret() -> errors.Rejected:
    """An account without a live secret is shut, never open."""
    return errors.Rejected(
        "no_secret",
        "this account has no live secret, so nothing that comes for it can be believed",
        hint="Add one with 'penstock account secret add'.",
        status=401,
        field="account",
    )


def secret_retired() -> errors.Rejected:
    """What was opened with a secret ends with it: whoever has another one may open it again."""
    return errors.Rejected(
        "secret_retired",
        "a secret of this account was retired",
        hint="Ask again, signed with a live secret.",
        status=401,
        field="account",
    )


def tenant_suspended(after_s: float) -> errors.Unavailable:
    """A suspension ends: whoever asks later loses nothing."""
    return errors.Unavailable("tenant_suspended", "this tenant is suspended", after_s=after_s)


def intake_closed() -> errors.Unavailable:
    """The disk is nearly full: better not to accept than to break."""
    return errors.Unavailable(
        "intake_closed",
        "nothing is accepted right now",
        hint="Free space in the data folder; 'penstock doctor' says how much is needed.",
        after_s=30.0,
    )


def command_conflict() -> errors.Rejected:
    """Two different commands under one id: the first one stands, the second is set aside for somebody to look at."""
    return errors.Rejected(
        "command_conflict",
        "another command with this command_id and other content came first",
        hint="A command_id stands for one thing to say, for ever.",
        status=409,
        field="command_id",
    )
