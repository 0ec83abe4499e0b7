"""What MLflow is given as files: the exhibits of completed runs, and the report at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.space.reading import read_search_space_text
from orchestrator.sweep.state import SweepState
from orchestrator.sweep.telemetry import MlflowTelemetry
from orchestrator.tracking import Tracker
from orchestrator.tracking.operations import Operation
from orchestrator.tracking.spool import Spool

SPACE = "task: {name: mqar}\narchitectures: {gpt: {}}\n"
RUN = "gpt-0000-s0"
SUGGESTION = {
    **{"kind": "suggestion", "study": "gpt", "number": 0, "trial": "gpt-0000", "answered_by": None, "space": "gpt"},
    **{"entry": "gpt", "architecture": "gpt", "task": "mqar", "drawn": {}, "fingerprint": "0", "runs": {RUN: 0}},
    "configuration": {"model": {}, "task": {}, "training": {}},
}


class Told:
    """A tracker that keeps what it is told in its order: artifacts by run and path, and which runs were closed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.calls: list[tuple[str, str]] = []

    def log_artifact(self, run_key: str, path: Path, artifact_path: str | None = None) -> None:
        assert artifact_path is None and path.exists()
        self.calls.append((run_key, str(path.relative_to(self.home))))

    def set_tags(self, run_key: str, tags: Mapping[str, str]) -> None: ...

    def close_run(self, run_key: str, status: str, time_ms: int | None) -> None:
        self.calls.append((run_key, status))

    def note(self, position: int) -> None: ...


class Teller:
    def __init__(self, folder: Path) -> None:
        specification = read_search_space_text(SPACE, "space.yaml")
        self.tracker, self.state = Told(folder), SweepState(specification.objective_names)
        self.telemetry = MlflowTelemetry(cast(Tracker, self.tracker), specification, "i", folder)
        self.state.apply(SUGGESTION)

    def tell(self, **event: Any) -> list[tuple[str, str]]:
        """What the tracker is told because of this event."""
        before = len(self.tracker.calls)
        self.telemetry.tell(event, self.state, 2)
        return self.tracker.calls[before:]

    def outcome(self, outcome: str) -> list[tuple[str, str]]:
        return self.tell(kind="outcome", run=RUN, outcome=outcome, error=None)


def exhibit(folder: Path) -> Path:
    exhibits = folder / "trials" / RUN / "exhibits"
    exhibits.mkdir(parents=True)
    (exhibits / "predictions.png").write_bytes(b"p")
    return exhibits


def test_a_completed_runs_exhibits_are_handed_over_before_it_is_closed_as_often_as_it_is_told(tmp_path: Path) -> None:
    exhibit(tmp_path)
    teller = Teller(tmp_path)
    told = [(f"i/{RUN}", f"trials/{RUN}/exhibits"), (f"i/{RUN}", "FINISHED")]
    assert teller.outcome("completed") == told
    assert teller.outcome("completed") == told


@pytest.mark.parametrize("outcome", ["stopped", "diverged", "failed", "interrupted"])
def test_a_run_that_did_not_complete_has_none_to_show(tmp_path: Path, outcome: str) -> None:
    exhibit(tmp_path)
    assert [path for _, path in Teller(tmp_path).outcome(outcome) if "exhibits" in path] == []


def test_exhibits_that_are_not_there_or_empty_are_no_reason_to_reject_anything(tmp_path: Path) -> None:
    teller = Teller(tmp_path)
    assert teller.outcome("completed") == [(f"i/{RUN}", "FINISHED")]
    (tmp_path / "trials" / RUN / "exhibits").mkdir(parents=True)
    assert teller.outcome("completed") == [(f"i/{RUN}", "FINISHED")]


def test_the_end_of_a_sweep_hands_over_tables_and_pictures_of_its_report(tmp_path: Path) -> None:
    (tmp_path / "report" / "pictures").mkdir(parents=True)
    for name in (
        "table.md",
        "summary.md",
        "by_length.md",
        "by_length.csv",
        "by_length.png",
        "figure.png",
        "slices.png",
        "report.json",
        "table.csv",
        "pictures/gpt-predictions.png",
    ):
        (tmp_path / "report" / name).write_text(name)
    told = Teller(tmp_path).tell(kind="end", interrupted=False)
    expected = ["table.md", "summary.md", "by_length.md", "by_length.png", "figure.png", "slices.png", "pictures"]
    assert told == [*(("i/sweep", f"report/{name}") for name in expected), ("i/sweep", "FINISHED")]


def test_a_sweep_without_a_report_ends_too(tmp_path: Path) -> None:
    assert Teller(tmp_path).tell(kind="end", interrupted=True) == [("i/sweep", "KILLED")]


def test_a_link_out_of_the_sweep_is_never_uploaded(tmp_path: Path) -> None:
    """The spool looks at what it is asked to upload, links inside a folder followed."""
    (tmp_path / "private.png").write_bytes(b"secret")
    exhibits = exhibit(tmp_path / "sweep")
    (exhibits / "codebook_usage.png").symlink_to(tmp_path / "private.png")
    spool = Spool(tmp_path / "sweep" / "spool")
    spool.append(Operation("artifact", f"i/{RUN}", 0, {"local_path": str(exhibits), "artifact_path": None}))
    spool.rotate()
    (segment,) = spool.closed_segments()
    assert spool.read(segment).operations == []
    assert "lies outside the sweep's folder" in (tmp_path / "sweep" / "spool" / "rejected.jsonl").read_text()
    spool.close()
