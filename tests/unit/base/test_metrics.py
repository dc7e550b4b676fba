"""Every metric of the product says what it means and what to do, and none of its labels can hold a person."""

import dataclasses
import json
import subprocess
import sys

import pytest

PROGRAM = """
import dataclasses, importlib, json, pkgutil, penstock
for module in pkgutil.walk_packages(penstock.__path__, "penstock."):
    if not {"testing", "__main__"} & set(module.name.split(".")):
        importlib.import_module(module.name)
from penstock.base import telemetry
print(json.dumps([dataclasses.asdict(metric) for metric in telemetry.METRICS]))
"""

LABELS = {
    "act": "what an app did",
    "app": "an app's name, given by its author",
    "body": "same or changed",
    "channel": "a channel's slug",
    "code": "a stable code of ours",
    "consumer": "a durable consumer",
    "direction": "to or from a store",
    "how": "which of a few ways something went",
    "kind": "a kind of event",
    "outcome": "how something ended",
    "python": "a version of Python",
    "reason": "why something was tried again",
    "room": "a room",
    "server": "an embedded server",
    "status": "an HTTP status",
    "stream": "a stream",
    "task": "a long-running task",
    "version": "a version of ours",
    "why": "by which of a few signs something was noticed",
}
"""The only labels there may be. Each takes few values, and none is a person, a conversation, a text or an account."""


@pytest.fixture(scope="module")
def metrics():
    """All of them, from a process that loads every room."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=50)
    return [dataclasses.make_dataclass("Metric", found)(**found) for found in json.loads(ended.stdout)]


def test_names_are_ours_and_say_their_unit(metrics):
    assert len(metrics) > 20
    ending = {"counter": "_total", "histogram": "_seconds"}
    # Those of the library that writes the page begin with "process_".
    wrong = [
        m.name
        for m in metrics
        if not m.name.startswith(("penstock_", "process_")) or not m.name.endswith(ending.get(m.kind, ""))
    ]
    assert wrong == []
    assert len({m.name for m in metrics}) == len(metrics)


def test_each_says_what_it_means_and_what_to_do(metrics):
    silent = [m.name for m in metrics if not (m.meaning.endswith((".", "!")) and len(m.remedy) > 20)]
    assert silent == []
    assert [m.name for m in metrics if not m.remedy.endswith(".")] == []


def test_no_label_can_hold_a_person(metrics):
    assert {label for m in metrics for label in m.labels} - set(LABELS) == set()


def test_no_label_is_listed_that_nobody_uses(metrics):
    assert set(LABELS) - {label for m in metrics for label in m.labels} == set()
