"""`python -m bench [ONLY=name,...]`: runs the benchmarks, prints a table and writes `bench/out/results.json`."""

import sys
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import catalogue, frame
from penstock.base import telemetry

RESULTS = Path(__file__).resolve().parent / "out" / "results.json"


def main(arguments: list[str], results_path: Path = RESULTS) -> int:
    """0 when every chosen benchmark ran, 1 when one failed, 2 when the name is unknown."""
    telemetry.configure_logs(level="error")
    only = ",".join(argument.removeprefix("ONLY=") for argument in arguments)
    console = Console()
    try:
        benchmarks = frame.chosen(catalogue.BENCHMARKS, only)
    except frame.UnknownBenchmark as unknown:
        console.print(str(unknown), style="red", markup=False)
        return 2
    results: list[frame.Result] = []
    failed: list[str] = []
    with console.status("") as status:
        for benchmark in benchmarks:
            try:
                results += frame.run(benchmark, on_run=status.update)
            except Exception:  # noqa: BLE001 - one failure must not lose the numbers of the others
                failed.append(benchmark.name)
                console.print(traceback.format_exc(), markup=False)
    frame.write(results, results_path)
    console.print(table(results))
    for name in failed:
        console.print(f"{name} failed", style="red", markup=False)
    return 1 if failed else 0


def table(results: list[frame.Result]) -> Table:
    """The results as people read them."""
    drawn = Table("benchmark", "unit", title="medians; more than 1x is better than the baseline")
    for heading in ("ours", "baseline", "times better", "runs"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("baseline is")
    for result in results:
        drawn.add_row(
            result.name,
            result.unit,
            _number(result.ours),
            _number(result.baseline),
            "" if result.ratio is None else f"{result.ratio:.2f}x",
            str(result.runs),
            result.baseline_name or "",
        )
    return drawn


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
