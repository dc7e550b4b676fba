"""Turns Slack's text into plain text for apps, and an app's plain text into one that Slack shows as it is meant.

Source: https://docs.slack.dev/messaging/formatting-message-text. Slack escapes `&`, `<` and `>` and nothing else, and
writes links and mentions between `<` and `>`. A mention of a person, `<@U123>`, is the same on both sides, so that an
app can repeat or make one; `<!channel>` and its like reach nobody when an app says them.
"""

import re
import urllib.parse
from typing import Final

_MARKUP: Final = re.compile(r"<(?P<what>[^<>|]+)(?:\|(?P<label>[^<>]*))?>")
_ENTITY: Final = re.compile(r"&(amp|lt|gt);")
_CHARACTERS: Final = {"amp": "&", "lt": "<", "gt": ">"}
_MENTION: Final = re.compile(r"(<@[UW][A-Z0-9]{1,40}>)")
_SAFE_IN_URL: Final = "!#$%&'()*+,/:;=?@[]~"


def plain(text: str) -> str:
    """What a person wrote: links as their address, with the label before it where that says something else."""
    if "<" in text:
        text = _MARKUP.sub(_shown, text)
    return _unescaped(text)


def marked(text: str) -> str:
    """Plain text as Slack wants it: escaped, but for mentions of persons."""
    if "<@" not in text:
        return _escaped(text)
    return "".join(part if _MENTION.fullmatch(part) else _escaped(part) for part in _MENTION.split(text))


def link(url: str, label: str) -> str:
    """A link that is shown as its label, on one line. What could end it is percent-encoded or left out."""
    address = _escaped(urllib.parse.quote(url, safe=_SAFE_IN_URL))
    shown = _escaped(" ".join(label.replace("|", " ").split()))
    return f"<{address}|{shown}>" if shown else f"<{address}>"


def _shown(match: re.Match[str]) -> str:
    """One piece of markup. What stays escaped here is undone with the rest, once."""
    what, label = match["what"], match["label"] or ""
    kind = what[0]
    if kind == "@":
        return f"&lt;{what}&gt;"  # a label, where there is one, is a name that Slack no longer keeps up
    if kind == "#":
        return f"#{label or what[1:]}"
    if kind == "!":
        return _special(what[1:], label)
    address = what.removeprefix("mailto:")
    if not label or label == address or address.partition("://")[2].removesuffix("/") == label.removesuffix("/"):
        return label or address
    return f"{label} ({address})"


def _special(what: str, label: str) -> str:
    """`<!here>`, `<!subteam^S1|@gardeners>`, `<!date^1772366400^{date}|noon>`."""
    name, _, rest = what.partition("^")
    if name == "subteam":
        return label or f"@{rest}"
    return label or f"@{name}"


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda match: _CHARACTERS[match[1]], text) if "&" in text else text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
