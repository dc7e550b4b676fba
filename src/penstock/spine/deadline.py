"""One timer for the deadlines of all handlers of a worker: setting and cancelling one for each message costs more."""

import asyncio


class Deadlines:
    """Ends with TimeoutError what takes longer than `after_s` seconds.

    What `begin` returns is entered at once (`async with`), and given to `end` afterwards.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        # In the order in which they are due, since all have the same time.
        self._due: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Timeout:
        """The time of something runs from now on."""
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        due = self._due[limit] = loop.time() + self._after_s
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)
        return limit

    def end(self, limit: asyncio.Timeout) -> None:
        """It is over, one way or the other."""
        self._due.pop(limit, None)

    def close(self) -> None:
        """Nothing runs any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for limit, due in list(self._due.items()):
            if due > now:
                self._timer = loop.call_at(due, self._look)
                return
            del self._due[limit]
            limit.reschedule(now)
