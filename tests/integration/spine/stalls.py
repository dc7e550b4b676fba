"""A table at the end of a test run: for how long a cluster in trouble made whoever publishes and consumes wait."""

import pytest

PROPERTY = "stall"
HEADINGS = (
    "what happened to the cluster",
    "publishing stood",
    "handling stood",
    "said",
    "lost",
    "reordered",
    "repeated",
)


def write(reporter: pytest.TerminalReporter) -> None:
    """Print what was recorded under `PROPERTY`, if anything was."""
    reports = [report for outcome in ("passed", "failed") for report in reporter.stats.get(outcome, [])]
    rows = [tuple(value) for report in reports for name, value in report.user_properties if name == PROPERTY]
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    reporter.section("stalls of a cluster")
    for row in (HEADINGS, *rows):
        first, *others = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        reporter.line("  ".join((first, *others)))
