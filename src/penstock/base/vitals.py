"""How this process itself is: is its event loop on time, what does it hold, which build is it.

The loop's delay is measured all the time, because a stall is over by the time that somebody asks. Memory, files and CPU
are told by the library that writes the metrics; what they mean stands here.
"""

import asyncio
import platform
from typing import Final

import penstock
from penstock.base import telemetry

LOOKS_EVERY_S: Final = 0.5
REMEMBERED_S: Final = 30.0
"""For how long the longest delay is told: longer than most monitors wait between two looks."""

build = telemetry.gauge(
    "penstock_build_info",
    labels=("version", "python"),
    meaning="Always 1; its labels say which build this process runs, on which Python.",
    remedy="Two versions for longer than a roll-out takes: a process was not replaced.",
)
delay = telemetry.gauge(
    "penstock_loop_delay_seconds",
    meaning="The longest time of the last 30 seconds by which the event loop was late: everything in this process "
    "waited for so long.",
    remedy="Above 0.1: something blocks the loop (a handler that computes or calls what waits), or the machine lacks "
    "CPU. Above a lease (10): deliveries run out of theirs and are handled twice.",
)
stalls = telemetry.counter(
    "penstock_loop_stalls_total",
    meaning="Times at which the event loop was late by more than a tenth of a second.",
    remedy="A steady rate: see penstock_loop_delay_seconds. Move what blocks into a thread, or give the process CPU.",
)
telemetry.brought_along(
    "process_resident_memory_bytes",
    "gauge",
    meaning="Memory that this process holds (its resident set). On Linux only, as all that begins with process_.",
    remedy="Growing for days under the same load: a leak; report it. Near the limit of the container: raise that, or "
    "lower the concurrency of consumers.",
)
telemetry.brought_along(
    "process_open_fds",
    "gauge",
    meaning="File descriptors that this process has open, connections included.",
    remedy="Near process_max_fds: raise `ulimit -n`; growing without more traffic: a leak; report it.",
)
telemetry.brought_along(
    "process_max_fds",
    "gauge",
    meaning="How many file descriptors the system lets this process open.",
    remedy="Should be some thousands more than edge.in_flight; raise it with `ulimit -n` or LimitNOFILE.",
)
telemetry.brought_along(
    "process_cpu_seconds_total",
    "counter",
    meaning="Seconds of CPU that this process has used.",
    remedy="Grows by one a second: its one core is full; run the role in a second process.",
)
telemetry.brought_along(
    "process_start_time_seconds",
    "gauge",
    meaning="When this process started, in seconds since 1970.",
    remedy="Jumps by itself: the process ended and was started again; read the end of its log.",
)


class LoopDelay:
    """Notices how late the event loop is, on the loop itself: a timer that should come at a known time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_s = 0.0
        self._longest: list[tuple[float, float]] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        delay.set_function(self._worst)
        self._again()

    def _again(self) -> None:
        self._due_s = self._loop.time() + LOOKS_EVERY_S
        self._timer = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        now_s = self._loop.time()
        self.note(now_s - self._due_s, now_s)
        self._again()

    def note(self, late_s: float, now_s: float) -> None:
        """The loop was late by that much; of what was noted before, only what was longer, or is young, still counts."""
        if late_s > 0.1:
            stalls.inc()
        kept = [(at, late) for at, late in self._longest if late > late_s and at > now_s - REMEMBERED_S]
        self._longest = [*kept, (now_s, late_s)]

    def _worst(self) -> float:
        oldest_s = self._loop.time() - REMEMBERED_S
        return max([0.0, *(late for at, late in self._longest if at > oldest_s)])

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        delay.set_function(lambda: 0.0)


def watch() -> LoopDelay:
    """Begin to measure this process, from a coroutine of its event loop. Stop what is returned when it drains."""
    build.labels(penstock.__version__, platform.python_version()).set(1)
    looking = LoopDelay()
    looking.start()
    return looking
