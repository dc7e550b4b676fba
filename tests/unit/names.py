"""Names that somebody could hand to a builder, and pairs of them that differ only where one part ends."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from penstock.base import errors

PIECES = [
    *"ab01AZ-_.:/*> \n\r\t\0\"'\\$%{}#?&=@~",
    *("--", "..", "_r1", "app_", "acme", "x" * 41, "y" * 130),
    *("\u00e9", "\u0663", "\uff41", "\u202e"),
]
"""What subjects, SQL, paths, URLs, headers and configuration files each read as something else."""

nasty = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
plain = st.lists(st.sampled_from(["a", "b", "-", "0", "acme", "app", "r1"]), min_size=1, max_size=4).map("".join)
names = st.one_of(plain, nasty, st.text(st.characters(exclude_categories=["Cs"]), max_size=60))


@st.composite
def tuples(draw: st.DrawFn, size: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Two tuples of names: strangers, or the same letters with other borders, or different in one place only."""
    first = tuple(draw(names) for _ in range(size))
    how = draw(st.sampled_from(["strangers", "borders", "one place"]))
    if how == "strangers" or (how == "borders" and size == 1):
        return first, tuple(draw(names) for _ in range(size))
    place = draw(st.integers(0, size - 1))
    if how == "one place":
        return first, (*first[:place], draw(names), *first[place + 1 :])
    place = min(place, size - 2)
    joint = draw(st.sampled_from(["", "-", "_", ".", "/", ":"]))
    whole = first[place] + joint + first[place + 1]
    cut = draw(st.integers(0, len(whole)))
    return first, (*first[:place], whole[:cut], whole[cut:].removeprefix(joint), *first[place + 2 :])


def built(builder: Callable[..., Any], parts: tuple[str, ...]) -> Any:
    """What a builder makes of these parts; None when it refuses them. Any other error is a failure."""
    try:
        return builder(*parts)
    except errors.Rejected:
        return None
