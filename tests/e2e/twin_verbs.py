"""Every verb of the command line, and what one tenant could try with it on another: a new verb is a decision here.

In arguments `{...}` stands for an id: `account` and its like for somebody else's, or for one that is nobody's.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.unit.cli import calling

OF_NO_TENANT: Final[Mapping[str, str]] = {
    "up": "runs the installation",
    "run": "runs the installation",
    "doctor": "looks at the installation",
    "demo": "has an installation of its own",
    "tenant create": "for who runs the installation: who lives here",
    "tenant ls": "for who runs the installation: who lives here",
    "tenant suspend": "for who runs the installation: who may act",
    "tenant resume": "for who runs the installation: who may act",
    "stream ls": "for who runs the installation: streams are of all tenants",
    "stream diff": "for who runs the installation: streams are of all tenants",
    "stream apply": "for who runs the installation: streams are of all tenants",
    "database prepare": "for who runs the installation: schemas, roles and logins",
    "nats accounts": "for who runs the installation: what the server lets each tenant do",
    "secret status": "for who runs the installation: keys are of all tenants",
    "secret rekey": "for who runs the installation: keys are of all tenants",
    "secret new-key": "writes a file, and knows no tenant",
}
"""Verbs that ask for no tenant, and why that is right."""

ABOUT_ANOTHERS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "account show": (("{account}",),),
    "account set": (("{account}", "--name", "mine"), ("{account}", "url=https://example.org/mine")),
    "account disable": (("{account}",),),
    "account enable": (("{account}",),),
    "account secret add": (("{account}",), ("{account}", "--kind", "token", "--from", "env:TERM")),
    "account secret retire": (("{account}", "{secret}"), ("{own}", "{secret}")),
    "account unknown ls": (("--account", "{account}"),),
    "account unknown show": (("{account}", "{event}"), ("{account}", "nothing")),
    "message send": (
        ("mine", "-a", "{account}", "-c", "{room}"),
        ("mine", "-a", "{account}", "-c", "{room}", "--id", "twin-{channel}"),
        ("mine", "-a", "{account}", "-c", "{room}", "--reply-to", "{message}", "--wait"),
    ),
    "message tail": (("-a", "{account}", "--for", "0.2"),),
    "quarantine ls": (("--consumer", "app_{tenant}_poison"),),
    "quarantine show": (("{quarantined}",),),
    "quarantine redrive": (("{quarantined}",), ("--consumer", "app_{tenant}_poison")),
    "person find": (("{sender}", "--account", "{account}"),),
    "person export": (("-a", "{account}", "-s", "{sender}", "--to", "{folder}/export.ndjson"),),
    "person erase": (
        ("-a", "{account}", "-s", "{sender}", "--dry-run"),
        ("-a", "{account}", "-s", "{sender}", "--yes"),
        ("--listed", "{folder}/{tenant}.json", "--yes"),
    ),
}
"""Verbs that take an id, asked with those of another tenant: answered as if that were nowhere."""

ABOUT_OWN: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "account ls": ((),),
    "account show": (("{own}",),),
    "account unknown ls": ((), ("--account", "{own}")),
    "account unknown show": (("{own}", "{event}"),),
    "account set": (("{own}", "--name", "{channel}"),),
    "account disable": (("{own}",),),
    "account enable": (("{own}",),),
    "message send": (("{own_tenant} notice", "-a", "{own}", "-c", "{room}", "--id", "twin-{channel}"),),
    "quarantine ls": ((), ("--code", "not_today")),
    "quarantine show": (("{own_quarantined}",),),
    "quarantine redrive": (("{own_quarantined}",),),
    "outbox ls": ((),),
    "person find": (("{sender}",), ("{sender}", "--account", "{own}")),
    "person export": (("-a", "{own}", "-s", "{sender}", "--to", "{new_file}"),),
    "person erased": ((),),
}
"""What one may ask about one's own, whose ids are the other's too: answered without a trace of the other."""

TRIED_APART: Final[Mapping[str, str]] = {
    "account create": "the stage makes accounts of one name for both, on every channel",
    "outbox revive": "test_what_is_sent_after_all_is_ones_own",
    "chat": "test_a_terminal_hears_its_own_app",
}
"""Verbs of a tenant that a test of their own tries."""

NOTHING: Final = {"", "[]", '{"redriven": 0}'}
"""What verbs say that found nothing."""

_ID = re.compile(r"\{(\w+)\}")


def known() -> set[str]:
    """Every verb that is on a list."""
    return {*OF_NO_TENANT, *ABOUT_ANOTHERS, *ABOUT_OWN, *TRIED_APART}


def asked(verb: str, words: tuple[str, ...], tenant: str, ids: Mapping[str, str]) -> list[str]:
    """The arguments of a verb as `tenant`, with these ids."""
    return [*verb.split(), *(_ID.sub(lambda found: ids[found[1]], word) for word in words), "-t", tenant]


def masked(ended: calling.Outcome, ids: Mapping[str, str]) -> tuple[int, str, str]:
    """Exit code and words, without the ids that were given and the times at which something was done."""
    texts: list[str] = []
    for text in (ended.out, ended.err):
        for name, value in sorted(ids.items(), key=lambda each: -len(each[1])):
            text = text.replace(value, f"<{name}>")  # noqa: PLW2901
        texts.append(re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00)?", "<time>", text))
    return ended.code, *texts


def asks_for_a_tenant(command: Any) -> bool:
    """Whether a verb is told as which tenant it acts."""
    return any(parameter.name == "tenant" and not parameter.multiple for parameter in command.params)
