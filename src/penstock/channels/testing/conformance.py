"""The one suite that every channel adapter passes, ours and strangers'.

    await conformance.check_channel(trial)

raises one AssertionError that lists every promise of `ports.Channel` that the adapter breaks. Each promise is a
function here whose docstring is the promise and whose name is what `Trial.excused` calls it.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.channels.testing import promises_reading, promises_sending, promises_verifying, trial

Promise = Callable[[trial.Trial], Awaitable[None] | None]

PROMISES: Final[dict[str, Promise]] = {
    promise.__name__: promise
    for module in (promises_verifying, promises_reading, promises_sending)
    for promise in module.PROMISES
}
"""Every promise by its name, in the order in which they are checked."""

SENDING: Final = tuple(promise.__name__ for promise in promises_sending.PROMISES)
"""The promises that a channel which calls nobody excuses, all with one reason."""


async def check_channel(described: trial.Trial) -> None:
    """Check every promise that is not excused. Raises AssertionError listing those that are broken, and how."""
    unknown = sorted(set(described.excused) - set(PROMISES))
    assert not unknown, f"excused, but no promise: {', '.join(unknown)}"
    unexplained = [name for name, reason in described.excused.items() if not reason.strip()]
    assert not unexplained, f"excused without a reason: {', '.join(unexplained)}"
    broken: list[str] = []
    for name, promise in PROMISES.items():
        if name in described.excused:
            continue
        try:
            result = promise(described)
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, the other promises are still checked
            broken.append(f"{name}: {inspect.getdoc(promise)}\n    {type(error).__name__}: {error}")
    assert not broken, f"channel '{described.channel.name}' breaks {len(broken)} promises\n" + "\n".join(broken)
