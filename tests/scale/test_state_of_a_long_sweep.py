"""What the driver itself keeps of each finished trial, without Ray: bounded, and no more for the last than for the first."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks._zero_work import zero_work_space

MOST_KIB = 12.0
"""6 were measured; Tune keeps about 28 beside it."""
METRICS = {f"metric/{index}": 1.0 for index in range(8)}
PROVENANCE = {name: "0123456789abcdef" for name in ("memsweep", "code", "data", "torch", "python", "device", "threads")}


def _long_sweep(folder: Path, trials: int) -> Any:
    from simulation import PretendedRun, Script, Simulation

    class Worker(PretendedRun):
        def step(self) -> Any:
            """A payload as it comes from another process: nothing in it is shared with any other one."""
            said = super().step()
            said["metrics"] = {"val/loss": 0.5, **METRICS}
            said["begun"] = {"continued_from": 0, "provenance": PROVENANCE}
            return json.loads(json.dumps(said))

    class LongSweep(Simulation):
        def _fill(self) -> None:
            request = self.controller.next_run() if not self.active else None
            if request is not None:
                self.active.append(Worker(request, Script([0.5])))

    return LongSweep(yaml.safe_dump(zero_work_space(trials)), folder / "sweep")


def _kib_per_trial(folder: Path, trials: int) -> float:
    """Over the second half, so that what is loaded once does not count."""
    sweep = _long_sweep(folder, trials)
    sweep.run(trials // 2)
    gc.collect()
    tracemalloc.start()
    try:
        sweep.run(trials // 2)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(sweep.controller.state.trials) == trials
    return kept / 1024 / (trials // 2)


def test_a_finished_trial_costs_few_kib(zero_work: None, tmp_path: Path) -> None:
    assert _kib_per_trial(tmp_path, 100) < MOST_KIB


@pytest.mark.long
def test_a_finished_trial_costs_few_kib_after_two_thousand(zero_work: None, tmp_path: Path) -> None:
    assert _kib_per_trial(tmp_path, 2000) < MOST_KIB


def test_runs_share_their_provenance_and_the_names_of_metrics(zero_work: None, tmp_path: Path) -> None:
    sweep = _long_sweep(tmp_path, 3)
    sweep.run()
    first, *others = sweep.controller.state.runs.values()
    assert first.provenance == PROVENANCE
    for run in others:
        assert run.provenance is first.provenance
        assert all(mine is its for mine, its in zip(run.metrics, first.metrics, strict=True))
