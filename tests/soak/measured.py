"""One table at the end of a test run: what each disaster cost, measured where it was survived."""

import math
from collections.abc import Callable
from typing import Any

import pytest

PROPERTY = "survived"
HEADINGS = ("survived", "first answer", "all rooms", "said", "lost (RPO)", "doubled", "reordered", "ambiguous", "")


class Measured:
    """Remembers the figures of one test under its name; they travel with the test's report, also between processes."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def row(self, what: str, verdict: Any, recovery_s: tuple[float, float] | None = None, note: str = "") -> None:
        """One row. `recovery_s`: from the end of the fault to the first answer, and until every room had one."""
        # Without end: everything had been said before the fault was over, so no answer tells of its recovery.
        first, last = (
            (f"{each:.2f} s" if math.isfinite(each) else "-" for each in recovery_s) if recovery_s else ("", "")
        )
        counts = (verdict.said, len(verdict.lost), len(verdict.doubled), len(verdict.reordered), verdict.excused)
        self._record(PROPERTY, [what, first, last, *map(str, counts), note])


def write(reporter: pytest.TerminalReporter) -> None:
    """Print what was measured, if anything was."""
    reports = [report for outcome in ("passed", "failed") for report in reporter.stats.get(outcome, [])]
    rows = [list(value) for report in reports for name, value in report.user_properties if name == PROPERTY]
    if not rows:
        return
    widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
    reporter.section("what was survived")
    for row in (HEADINGS, *sorted(rows)):
        cells = [
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        reporter.line("  ".join(cells[:-1]) + "  " + row[-1])
