"""A seeded mixture of everything that an installation must survive, for as long as you like; `make soak`.

    python -m tests.soak [--losses] [DURATION_SECONDS] [SEED]

Ends with one line, `N lost, N doubled, N reordered`, and exit code 1 unless all are 0. Ctrl-C ends it early, with the
verdict so far.
"""

import argparse
import asyncio
import contextlib
import math
import random
import signal
import sys
import time
from collections.abc import Sequence

from penstock.servers import testing as servers
from tests.e2e import processes
from tests.soak import faults as table
from tests.soak import stage as stages

CAST = stages.Cast(cores=2, apps=2, rooms=16, patience_s=math.inf)
PAUSE_S = 0.25
QUIET_S = 60.0
"""After the end: what has not been answered when nothing has come for so long is lost."""


class Soak:
    """One run: a stage, people who talk all the time, and a schedule."""

    def __init__(self, stage: stages.Stage, schedule: list[table.Fault]) -> None:
        self.stage, self.schedule = stage, schedule
        self.begun_s = time.perf_counter()
        self.over: list[tuple[table.Fault, float]] = []
        self._locks: dict[str, asyncio.Lock] = {}

    def say(self, text: str) -> None:
        """One line with the time."""
        print(f"{time.perf_counter() - self.begun_s:7.1f} s  {text}", flush=True)

    async def run(self, duration_s: float, interrupted: asyncio.Event) -> None:
        """Talk and hurt until the time is over or somebody has enough; then let everything settle."""
        enough = asyncio.Event()
        talking = [asyncio.create_task(talk.go_on(enough, pause_s=PAUSE_S)) for talk in self.stage.talks]
        hurting = [asyncio.create_task(self._happen(fault)) for fault in self.schedule]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await interrupted.wait()
        if interrupted.is_set():
            self.say("interrupted")
            for task in hurting:
                task.cancel()
        failed = [
            each for each in await asyncio.gather(*hurting, return_exceptions=True) if isinstance(each, Exception)
        ]
        enough.set()
        self.say("nothing more happens; everything settles")
        await asyncio.gather(*talking)
        await asyncio.gather(*(talk.settled(quiet_s=QUIET_S) for talk in self.stage.talks))
        for error in failed:
            raise error

    async def _happen(self, fault: table.Fault) -> None:
        await asyncio.sleep(max(0.0, self.begun_s + fault.at_s - time.perf_counter()))
        async with table.one_at_a_time(self._locks, fault.target):
            self.say(str(fault))
            await table.doing(fault)(self.stage, fault)
            self.over.append((fault, time.perf_counter()))

    def tell_recovery(self) -> None:
        """How long it took after each fault until somebody was answered, and until everybody was."""
        print(f"\n{'what happened':45}{'first answer':>14}{'all rooms':>14}")
        for fault, since_s in self.over:
            first_s, last_s = self.stage.recovery_s(since_s)
            print(f"{fault!s:45}{first_s:12.2f} s{last_s:12.2f} s")


async def soak(duration_s: float, seed: str, kinds: Sequence[table.Kind]) -> bool:
    """Run, and print everything; whether nothing was lost, doubled or reordered."""
    schedule, interrupted = table.schedule(seed, duration_s, kinds), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    print(f"soak for {duration_s:g} s, SEED={seed}: {len(schedule)} faults", flush=True)
    with servers.temporary_folder() as folder:
        try:
            async with stages.opened(folder, CAST) as stage:
                running = Soak(stage, schedule)
                await running.run(duration_s, interrupted)
                verdict = await stage.verdict()
                not_kept, quarantined = await stage.not_kept(), await _quarantined(stage)
                running.tell_recovery()
                if verdict.lost:
                    await stages.tell_all(stage)
        finally:
            processes.kill(folder)
    for what, texts in (("lost", verdict.lost), ("doubled", verdict.doubled), ("reordered", verdict.reordered)):
        if texts:
            print(f"{what}: {', '.join(texts[:10])}{' ...' if len(texts) > 10 else ''}")
    print(
        f"{verdict.said} messages answered 200, {len(not_kept)} of them not in the database, "
        f"{verdict.excused} sent again and marked ambiguous, {quarantined} in quarantine"
    )
    print(verdict)
    return verdict.good and not not_kept


async def _quarantined(stage: stages.Stage) -> int:
    return len(await stage.installation.cli("quarantine", "ls", "-t", stages.TENANT))


def main() -> int:
    """Read the arguments and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("duration_s", type=float, nargs="?", default=300.0, help="seconds of faults (default 300)")
    parser.add_argument("seed", nargs="?", default=str(random.randrange(10_000)), help="decides what happens and when")
    parser.add_argument("--losses", action="store_true", help="nats-server also loses its store, or gets an older one")
    given = parser.parse_args()
    kinds = (*table.KINDS, *table.LOSSES) if given.losses else table.KINDS
    return 0 if asyncio.run(soak(given.duration_s, given.seed, kinds)) else 1


if __name__ == "__main__":
    sys.exit(main())
