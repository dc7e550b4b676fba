"""The benchmark frame alternates, takes medians, and knows which direction is good."""

import asyncio
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import __main__ as command
from bench import catalogue, frame


def numbers(values, heard, name):
    remaining = iter(values)

    async def measure():
        await asyncio.sleep(0)
        heard.append(name)
        return next(remaining)

    return measure


def benchmark(name="loop", *, better="lower", ours=(3, 1, 2), baseline=(10, 20, 30), heard=None):
    heard = [] if heard is None else heard
    return frame.Benchmark(
        name=name,
        unit="ms",
        better=better,
        ours=numbers(ours, heard, "ours"),
        baseline=numbers(baseline, heard, "theirs") if baseline else None,
        baseline_name="theirs" if baseline else None,
        runs=len(ours),
    )


def test_ours_and_the_baseline_take_turns():
    heard: list[str] = []
    frame.run(benchmark(heard=heard))
    assert heard == ["ours", "theirs"] * 3


def test_medians_are_reported():
    (result,) = frame.run(benchmark(ours=(3, 1, 2), baseline=(10, 30, 20)))
    assert result == frame.Result("loop", "ms", 2, 20, "theirs", 10, 3)


def test_without_a_baseline_there_is_no_ratio():
    (result,) = frame.run(benchmark(baseline=()))
    assert (result.baseline, result.baseline_name, result.ratio) == (None, None, None)


def test_a_baseline_that_is_absent_says_why_and_is_not_asked_again():
    asked = []

    async def absent():
        asked.append(1)
        raise frame.Absent("not installed (apt-get install it)")

    (result,) = frame.run(dataclasses.replace(benchmark(), baseline=absent))
    assert result == frame.Result("loop", "ms", 2, None, "theirs: not installed (apt-get install it)", None, 3)
    assert asked == [1]


def test_one_run_may_give_several_figures():
    rate = frame.Figure("loop_rate", "1/s", "higher")
    both = benchmark(ours=((3, 30), (1, 10), (2, 20)), baseline=((6, 10), (6, 10), (6, 10)))
    results = frame.run(dataclasses.replace(both, also=(rate,)))
    assert results == [
        frame.Result("loop", "ms", 2, 6, "theirs", 3, 3),
        frame.Result("loop_rate", "1/s", 20, 10, "theirs", 2, 3),
    ]


def test_a_figure_chooses_the_benchmark_that_gives_it():
    one = dataclasses.replace(benchmark("a"), also=(frame.Figure("a_rate", "1/s", "higher"),))
    assert frame.chosen([one, benchmark("b")], "a_rate") == [one]


@pytest.mark.parametrize(
    ("better", "ours", "theirs", "expected"),
    [("higher", 200, 100, 2), ("lower", 200, 100, 0.5), ("higher", 1, 0, None), ("lower", 0, 1, None)],
)
def test_the_ratio_knows_its_direction(better, ours, theirs, expected):
    assert frame.ratio(ours, theirs, better) == expected


positive = st.floats(min_value=1e-6, max_value=1e6)


@given(positive, positive)
def test_directions_are_each_others_inverse(ours, theirs):
    higher = frame.ratio(ours, theirs, "higher")
    lower = frame.ratio(ours, theirs, "lower")
    assert higher is not None
    assert lower is not None
    assert higher * lower == pytest.approx(1)


def test_two_runs_are_too_few():
    with pytest.raises(ValueError, match="fewer than 3 runs"):
        benchmark(ours=(1, 2))


def test_a_baseline_needs_its_name():
    with pytest.raises(ValueError, match="a baseline has a name"):
        frame.Benchmark(name="x", unit="ms", better="lower", ours=numbers((), [], ""), baseline_name="y")


def test_only_chooses_by_name():
    both = [benchmark("a"), benchmark("b")]
    assert frame.chosen(both, "") == both
    assert frame.chosen(both, "b") == both[1:]
    assert frame.chosen(both, "b, a") == both
    with pytest.raises(frame.UnknownBenchmark, match="'c'; there are: a, b"):
        frame.chosen(both, "c")


def test_the_command_writes_results_and_survives_a_failure(monkeypatch, tmp_path, capsys):
    async def explode():
        raise RuntimeError("out of luck")

    broken = frame.Benchmark(name="broken", unit="s", better="lower", ours=explode)
    monkeypatch.setattr(catalogue, "BENCHMARKS", (broken, benchmark("loop")))
    path = tmp_path / "out" / "results.json"
    assert command.main([], path) == 1
    assert json.loads(path.read_text(encoding="utf-8")) == [
        {"name": "loop", "unit": "ms", "ours": 2, "baseline": 20, "baseline_name": "theirs", "ratio": 10, "runs": 3}
    ]
    printed = capsys.readouterr().out
    assert "10.00x" in printed
    assert "out of luck" in printed
    assert "broken failed" in printed


def test_the_command_refuses_an_unknown_name(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "BENCHMARKS", (benchmark("loop"),))
    assert command.main(["ONLY=nope"], tmp_path / "results.json") == 2
    assert command.main(["ONLY=loop"], tmp_path / "results.json") == 0
