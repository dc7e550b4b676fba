"""Tasks that somebody owns: named, counted, restarted with growing pauses, and stopped in time.

A bare `asyncio.create_task` that dies is noticed by nobody. Everything that runs for as long as the process does is
started here instead.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from penstock.base import errors, telemetry

T = TypeVar("T")

_log = telemetry.logger("base.tasks")

crashes = telemetry.counter(
    "penstock_task_crashes_total",
    labels=("task",),
    meaning="A long-running task ended with an error and was started again.",
    remedy="Read the log line 'task crashed' of that task; a steady rate is a bug worth reporting.",
)


def backoff_s(attempt: int, *, first_s: float = 0.1, most_s: float = 10.0) -> float:
    """Seconds to wait before try number `attempt` (from 1): doubling, capped, with full jitter's upper half."""
    return min(most_s, first_s * 2 ** min(attempt - 1, 32)) * random.uniform(0.5, 1.0)  # noqa: S311


def ending_signals() -> list[signal.Signals]:
    """What asks a process to end: SIGTERM, Ctrl-C, and a terminal that closes, unless that is ignored (`nohup`)."""
    asked = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    return [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]


class Tasks:
    """The long-running tasks of one part of a process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def once(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Run `work` to its end in the background; an error is logged and counted, never lost."""

        async def watched() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the last one who can say that it happened
                _report(name, error)

        task = self._keep(name, watched())
        # Cancelled before its first step, it would leave `work` behind, never awaited.
        task.add_done_callback(lambda _: work.close())
        return task

    def forever(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` again and again until stopped: at once after a normal end, after a growing pause on an error."""

        async def repeated() -> None:
            loop, failures = asyncio.get_running_loop(), 0
            while True:
                begun = loop.time()
                try:
                    await work()
                    failures = 0
                    await asyncio.sleep(0)
                except errors.Unavailable as error:
                    failures += 1
                    _log.info("task waits", task=name, code=error.code, detail=error.detail)
                    await asyncio.sleep(max(backoff_s(failures), min(error.after_s, 10.0)))
                except (Exception, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and is_told_to_stop():
                        raise
                    failures = 1 if loop.time() - begun > 60 else failures + 1
                    _report(name, error)
                    await asyncio.sleep(backoff_s(failures))

        return self._keep(name, repeated())

    def _keep(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def is_told_to_stop() -> bool:
    """Whether it is this task that somebody cancels, and not something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(name: str, error: BaseException) -> None:
    crashes.labels(name).inc()
    _log.error("task crashed", task=name, exc_info=error)
