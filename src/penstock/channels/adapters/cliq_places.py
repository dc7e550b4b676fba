"""Writes down where a bot of Zoho Cliq talks, so that it can answer there: a chat's id alone does not say that.

A message to a person goes out by the person's id, one to a channel by the channel's unique name, and both are changed
by the chat's id (https://www.zoho.com/cliq/help/restapi/v2/messages/). So a conversation is `<chat>/<person>` with one
person, `<chat>/#<channel>` in a channel, and `<chat>` where neither is known.
"""

import dataclasses
import re
from typing import Final

from penstock.base import errors

_PLACE: Final = re.compile(
    r"(?P<chat>[A-Za-z0-9_-]{1,200})(?:/(?P<person>[0-9]{1,20})|/#(?P<channel>[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}))?"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A chat, and the person or the channel that it is with; neither where that is not known."""

    chat: str
    person: str = ""
    channel: str = ""

    def __str__(self) -> str:
        """The conversation."""
        if self.person:
            return f"{self.chat}/{self.person}"
        return f"{self.chat}/#{self.channel}" if self.channel else self.chat


def is_person(user_id: str) -> bool:
    """Whether an id is one that a message can go out to."""
    return user_id.isascii() and user_id.isdigit() and len(user_id) <= 20


def is_channel(unique_name: str) -> bool:
    """Whether a channel's unique name can stand in a URL as it is."""
    return _PLACE.fullmatch(f"x/#{unique_name}") is not None


def parse(conversation: str) -> Place:
    """The place that a conversation names. Raises Rejected `bad_conversation`."""
    match = _PLACE.fullmatch(conversation)
    if match is None:
        hint = "Answer in the conversation that a message came from."
        raise errors.Rejected(
            "bad_conversation",
            "conversation: must be a chat's id, with a person or a channel after it",
            hint=hint,
            field="conversation",
        )
    return Place(match["chat"], match["person"] or "", match["channel"] or "")
