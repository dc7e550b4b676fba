"""Tells emoji characters from Slack's names for them: apps say 👍 on every channel, Slack says `+1`.

The table is `slack_emoji.tsv`. A skin tone is `::skin-tone-2` to `-6` after the name, as
https://docs.slack.dev/reference/methods/reactions.add says, and a modifier after the first character in Unicode. Names
that are in no table are a workspace's own emoji, and stay names.
"""

import functools
import re
from pathlib import Path
from typing import Final

from penstock.base import errors

_NAME: Final = re.compile(r"[a-z0-9_+'-]{1,100}(?:::skin-tone-[2-6])?")
_TONES: Final = {chr(0x1F3FB + index): f"::skin-tone-{index + 2}" for index in range(5)}
_MODIFIERS: Final = {suffix: modifier for modifier, suffix in _TONES.items()}
_PRESENTATION: Final = "\N{VARIATION SELECTOR-16}"


def name_of(reaction: str) -> str:
    """Slack's name for an emoji character; what already is a name, colons around it or not, stays one.

    Raises Rejected `unknown_emoji` for anything else.
    """
    named = reaction.strip(":")
    if _NAME.fullmatch(named):
        return named
    bare, tones = reaction.replace(_PRESENTATION, ""), [tone for tone in _TONES if tone in reaction]
    for tone in tones:
        bare = bare.replace(tone, "")
    name = _names().get(bare, "")
    if not name or len(tones) > 1:
        hint = "Use one emoji, or Slack's name for it, such as thumbsup or one of the workspace's own."
        raise errors.Rejected("unknown_emoji", "Slack has no name for this reaction", hint=hint, field="reaction")
    return name + _TONES[tones[0]] if tones else name


def character_of(name: str) -> str:
    """The character that Slack's name stands for; the name itself when it is a workspace's own emoji."""
    base, separator, tone = name.partition("::")
    character = _characters().get(base)
    modifier = _MODIFIERS.get(separator + tone, "")
    if character is None or (separator and not modifier):
        return name
    return character[0] + modifier + character[1:].removeprefix(_PRESENTATION) if modifier else character


@functools.cache
def _rows() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every character with its names, the preferred one first."""
    lines = Path(__file__).with_suffix(".tsv").read_text("utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if not line.startswith("#") or "\t" in line]
    return tuple((character, tuple(names.split())) for character, names in pairs)


@functools.cache
def _names() -> dict[str, str]:
    return {character.replace(_PRESENTATION, ""): names[0] for character, names in _rows()}


@functools.cache
def _characters() -> dict[str, str]:
    return {name: character for character, names in _rows() for name in names}
