"""``docs/metrics.md`` names the tags that the runs of a sweep have in MLflow, no more and no less."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from documents import ROOT, table_rows

from orchestrator.space.reading import read_search_space_text
from orchestrator.sweep.state import SweepState
from orchestrator.sweep.telemetry import MlflowTelemetry
from orchestrator.tracking import RUN_KEY_TAG, Tracker
from trainables.training.provenance import provenance

SPACE = "task: {name: mqar}\narchitectures: {gpt: {}}\n"
EVENTS: list[dict[str, Any]] = [
    {"kind": "sweep", "task": "mqar", "space": SPACE},
    {
        **{"kind": "suggestion", "study": "gpt", "number": 0, "trial": "gpt-0000", "answered_by": None, "space": "gpt"},
        **{"entry": "gpt", "architecture": "gpt", "task": "mqar", "drawn": {}, "fingerprint": "0", "runs": {"gpt-0000-s0": 0}},
        "configuration": {"model": {}, "task": {}, "training": {}},
    },
    {"kind": "start", "run": "gpt-0000-s0", "name": "gpt", "params": {}},
    {"kind": "begin", "run": "gpt-0000-s0", "continued_from": 0},
    {"kind": "warning", "run": "gpt-0000-s0", "message": "the disk is full"},
    {"kind": "retry", "run": "gpt-0000-s0", "needed_mib": 1.0, "error": None},
    {
        **{"kind": "outcome", "run": "gpt-0000-s0", "outcome": "failed"},
        "error": {"type": "ValueError", "message": "no", "traceback": "here"},
    },
]
"""A run with everything that can be told of one."""


class TagsOnly:
    """A tracker that keeps the names of the tags of each run."""

    def __init__(self) -> None:
        self.tags: dict[str, set[str]] = {}

    def open_run(self, run_key: str, name: str, tags: Mapping[str, str], *rest: object) -> None:
        self.tags[run_key] = {RUN_KEY_TAG, *tags}

    def set_tags(self, run_key: str, tags: Mapping[str, str]) -> None:
        self.tags[run_key] |= tags.keys()

    def log_artifact(self, run_key: str, path: Path) -> None: ...

    def close_run(self, run_key: str, status: str, time_ms: int | None) -> None: ...

    def note(self, position: int) -> None: ...


@pytest.fixture(scope="module")
def tags() -> dict[str, set[str]]:
    specification = read_search_space_text(SPACE, "space.yaml")
    tracker, state = TagsOnly(), SweepState([specification.objective.metric])
    telemetry = MlflowTelemetry(cast(Tracker, tracker), specification, "i", ROOT)
    found = provenance(None, torch.device("cpu")) | {"data": "0" * 16, "stages": "base-0123456789abcdef"}
    for position, event in enumerate(EVENTS, start=1):
        event = event | ({"provenance": found} if event["kind"] == "begin" else {})
        state.apply(event)
        telemetry.tell(event, state, position)
    return tracker.tags


def _named(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_.]+)`", text))


def test_the_table_has_the_tags_of_a_run(tags: dict[str, set[str]]) -> None:
    headers = [row[0] for row in table_rows(ROOT / "docs/metrics.md")]
    documented = set.union(*(_named(cell) for cell in headers[headers.index("tag") :]))
    assert documented == tags["i/gpt-0000-s0"]


def test_those_of_the_parent_are_named(tags: dict[str, set[str]]) -> None:
    section = (ROOT / "docs/metrics.md").read_text().partition("## Tags")[2]
    sentence = next(line for line in section.splitlines() if "the parent run of a sweep has" in line).partition(" alone.")[0]
    assert _named(sentence) == tags["i/sweep"]
