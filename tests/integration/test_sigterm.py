"""SIGTERM reaches a worker in the middle of a step: the step is kept, and another process goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sweeps import run_sweep, small_space

from orchestrator.record import read_journal

EPOCHS = 10
LIVES = 5
"""Each is told to end in its second epoch; of deaths a run has three."""


@pytest.mark.usefixtures("ray_session", "faults")
def test_a_worker_that_is_told_to_end_keeps_the_step_under_way_and_costs_no_life(tmp_path: Path) -> None:
    document = small_space(
        name="sigterm",
        architectures={"told": {"architecture": "faulty", "fault": "terminated", "notes": str(tmp_path)}},
        model={"dim": 8, "n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8},
        training={"batch_size": 32, "epochs": EPOCHS},
        constraints=None,
        search={"sampler": "random", "trials": 1},
        checkpoints={"interval": 3600},
    )
    sweep = run_sweep(tmp_path, document)
    (run,) = sweep.data.state.runs.values()
    events = read_journal(sweep.result.folder.record)
    assert run.outcome == "completed"
    assert [event["continued_from"] for event in events if event["kind"] == "begin"] == [0, 2, 4, 6, 8]
    assert [event["progress"] for event in events if event["kind"] == "result" and event["progress"]] == list(
        range(1, EPOCHS + 1)
    )
    assert len(set((tmp_path / "trainings").read_text().split("\n")) - {""}) == LIVES, "each in a process of its own"
