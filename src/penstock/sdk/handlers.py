"""Which of an app's handlers gets a message: the first one, in the order written, whose kind and filters match."""

import dataclasses
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, overload

from penstock.base import errors
from penstock.sdk.message import Message
from penstock.sdk.model import Kind

Handler = Callable[[Message], Awaitable[None]]
"""An `async def` that takes a Message. Returning settles the event; raising asks for a reaction."""

H = TypeVar("H", bound=Handler)

_BOT: Final = 2
"""`message_pb2.SENDER_KIND_BOT`: the generated code is not loaded before an app runs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Registered:
    """A handler and what it wants to hear."""

    handle: Handler
    kind: Kind
    channel: str | None
    pattern: re.Pattern[str] | None
    bots: bool

    def wants(self, message: Message) -> bool:
        """Whether the message is for this handler."""
        return (
            message.kind is self.kind
            and (self.bots or message.raw.sender.kind != _BOT)
            and (self.channel is None or self.channel == message.channel)
            and (self.pattern is None or self.pattern.search(message.text) is not None)
        )


class Handlers:
    """An app's handlers, in the order in which they were written."""

    def __init__(self) -> None:
        self._registered: list[Registered] = []

    def __len__(self) -> int:
        return len(self._registered)

    def add(self, registered: Registered) -> None:
        """Append a handler. Raises Rejected `not_async` for a plain function."""
        if not inspect.iscoroutinefunction(registered.handle):
            name = getattr(registered.handle, "__name__", "the handler")
            raise errors.Rejected("not_async", f"{name} is not an 'async def' function", hint="Write 'async def'.")
        self._registered.append(registered)

    def find(self, message: Message) -> Handler | None:
        """The first handler that wants the message."""
        for known in self._registered:
            if known.wants(message):
                return known.handle
        return None


class On:
    """A decorator that registers handlers for one kind: bare, or with filters.

    `channel` is a channel's slug; `pattern` a regular expression that the text must contain somewhere. What bots
    say is not heard unless `bots` is true: two bots that answer each other never stop.
    """

    def __init__(self, handlers: Handlers, kind: Kind) -> None:
        self._handlers, self._kind = handlers, kind

    @overload
    def __call__(self, handler: H, /) -> H: ...

    @overload
    def __call__(
        self, /, *, channel: str | None = None, pattern: str | re.Pattern[str] | None = None, bots: bool = False
    ) -> Callable[[H], H]: ...

    def __call__(
        self,
        handler: H | None = None,
        /,
        *,
        channel: str | None = None,
        pattern: str | re.Pattern[str] | None = None,
        bots: bool = False,
    ) -> H | Callable[[H], H]:
        """Register; returns the function unchanged. Raises Rejected `not_async`."""
        compiled = re.compile(pattern) if isinstance(pattern, str) else pattern

        def register(function: H) -> H:
            self._handlers.add(Registered(function, self._kind, channel, compiled, bots))
            return function

        return register if handler is None else register(handler)
