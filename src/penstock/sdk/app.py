"""An app: a name and the handlers that answer, and the one call that runs it."""

from collections.abc import Sequence

from penstock.base import errors, ids
from penstock.sdk.handlers import Handlers, On
from penstock.sdk.model import Kind

MOST_CONCURRENT = 256


class App:
    """Handlers under a name.

    All processes that run the app of one name for one tenant share its messages. Messages of one conversation are
    handled one after the other; of different conversations up to `concurrency` at once in each process. A handler
    that runs longer than `deadline_s` seconds has failed. Raises Rejected for a name that is no slug.
    """

    def __init__(self, name: str, *, concurrency: int = 32, deadline_s: float = 300.0) -> None:
        self.name = ids.AppName(ids.slug(name, "app"))
        if not 1 <= concurrency <= MOST_CONCURRENT:
            raise errors.Rejected("bad_app", f"concurrency must be 1-{MOST_CONCURRENT}", field="concurrency")
        if deadline_s <= 0:
            raise errors.Rejected("bad_app", "deadline_s must be more than 0", field="deadline_s")
        self.concurrency, self.deadline_s = concurrency, deadline_s
        self.handlers = Handlers()
        self.on_message = On(self.handlers, Kind.MESSAGE)
        """A new message, one that answers another or carries files included."""
        self.on_edit = On(self.handlers, Kind.EDIT)
        """`text` is what the message `target` says now."""
        self.on_deletion = On(self.handlers, Kind.DELETION)
        """The message `target` was taken back."""
        self.on_reaction = On(self.handlers, Kind.REACTION)
        """`reaction` was put on the message `target`."""
        self.on_reaction_removed = On(self.handlers, Kind.REACTION_REMOVED)
        """`reaction` was taken off the message `target`."""
        self.on_pin = On(self.handlers, Kind.PIN)
        """The message `target` was pinned."""

    def run(self, *, tenants: Sequence[str] = ()) -> None:
        """Answer messages until SIGTERM or Ctrl-C, then finish what was begun and return.

        For the tenants given, else those of PENSTOCK_TENANT (several: with commas). The bus is that of
        PENSTOCK_NATS_URL, else of the `penstock up` that runs on this machine. What cannot work is one line on
        standard error and the exit code of the CLI (2 usage, 3 forbidden, 75 try again).
        """
        from penstock.sdk import process

        process.run(self, tenants)

    async def serve(self, *, tenants: Sequence[str] = ()) -> None:
        """The same inside an event loop of yours: until cancelled, without touching signals or logs.

        Raises Rejected or Unavailable where `run` would exit.
        """
        from penstock.sdk import process

        await process.serve(self, tenants)
