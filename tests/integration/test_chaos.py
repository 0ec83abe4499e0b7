"""Whatever is killed, whenever: the sweep comes to the end that it would have come to."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from chaos import Chaos, assert_whole, continued, ending, trial_processes
from mlflow_servers import MlflowServer
from small_sweeps import finished, small_space, write_space

from orchestrator.launch import LaunchOptions, SweepObserver, launch
from orchestrator.record import read_journal
from orchestrator.space.reading import read_search_space
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.state import RunState, TrialState
from trainables.training.checkpoint import read_checkpoint

EPOCHS = 8
EXPERIMENT = "chaos"
ASHA = {"name": "asha", "grace_period": 2, "reduction_factor": 2}


def space_of(name: str, sampler: str, scheduler: Any, concurrency: int, trials: int) -> dict[str, Any]:
    document = small_space(
        name=name,
        training={"lr": {"float": [1e-3, 1e-2], "log": True} if sampler != "grid" else 3e-3, "batch_size": 32, "epochs": EPOCHS},
        objective={"metric": "val/loss"},
        search={"sampler": sampler, "trials": trials, "seed": 3},
        scheduler=scheduler,
        resources={"concurrency": concurrency},
        checkpoints={"keep": "last", "interval": 0.001},
    )
    document["architectures"].pop("unified_kv")
    document["task"]["train_examples"] = 512  # epochs of a tenth of a second, so that drivers are killed within runs
    return document


def pair(folder: Path, document: dict[str, Any], server: MlflowServer | None) -> tuple[Chaos, Chaos]:
    """The same sweep twice, to be left alone and to be disturbed."""
    chaos = []
    for name in ("alone", "disturbed"):
        space = write_space(folder, document | {"name": f"{document['name']}-{name}"})
        chaos.append(Chaos(space, folder, f"{document['name']}-{name}", server.uri if server else None))
    return chaos[0], chaos[1]


def assert_same_end(alone: Chaos, disturbed: Chaos, kills: int) -> None:
    assert alone.undisturbed() == 0, alone.log()[-4000:]
    assert disturbed.disturbed(kills, seed=20) == 0, disturbed.log()[-4000:]
    assert disturbed.kills == kills, "the sweep is too short for so many kills"
    expected, found = assert_whole(alone), assert_whole(disturbed)
    assert ending(found) == ending(expected)
    assert continued(read_journal(disturbed.folder.record)), "no run went on from a checkpoint"


def test_a_driver_killed_four_times_comes_to_the_same_end(tmp_path: Path) -> None:
    alone, disturbed = pair(tmp_path, space_of("short", "tpe", "none", concurrency=1, trials=3), None)
    disturbed.within_runs = True
    assert_same_end(alone, disturbed, kills=4)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_20_moments_with_one_run_at_a_time(tmp_path: Path, server: MlflowServer) -> None:
    alone, disturbed = pair(tmp_path, space_of("single", "tpe", ASHA, concurrency=1, trials=12), server)
    assert_same_end(alone, disturbed, kills=20)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_killed_at_20_moments_with_two_runs_at_a_time(tmp_path: Path, server: MlflowServer, sampler: str) -> None:
    alone, disturbed = pair(tmp_path, space_of(sampler, sampler, "none", concurrency=2, trials=12), server)
    assert_same_end(alone, disturbed, kills=20)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_20_moments_where_the_order_of_results_matters(tmp_path: Path, server: MlflowServer) -> None:
    """With two at a time tpe and asha depend on who comes first: the end may differ, but nothing is lost or done twice."""
    _, disturbed = pair(tmp_path, space_of("order", "tpe", ASHA, concurrency=2, trials=12), server)
    assert disturbed.disturbed(20, seed=21) == 0, disturbed.log()[-4000:]
    assert disturbed.kills == 20
    data = assert_whole(disturbed)
    assert {name: len(study.trials) for name, study in data.state.studies.items()} == {"gpt": 12, "delta_net": 12}
    assert continued(read_journal(disturbed.folder.record))


class KillsWorkers(SweepObserver):
    """Kills a random process of a run each time that so many runs have ended, from a thread of its own."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.killed = 0
        self._ended = 0
        self._generator = random.Random(5)

    def run_ended(self, controller: SweepController, trial: TrialState, run: RunState) -> None:
        self._ended += 1
        if self._ended % self.every == 0:
            threading.Timer(self._generator.uniform(0.05, 0.5), self._kill).start()

    def _kill(self) -> None:
        deadline = time.monotonic() + 5
        while not (processes := trial_processes(os.getpid())) and time.monotonic() < deadline:
            time.sleep(0.05)
        if processes:
            os.kill(self._generator.choice(processes), signal.SIGKILL)
            self.killed += 1


def test_workers_killed_at_random_cost_no_trial(ray_session: None, tmp_path: Path) -> None:
    document = space_of("workers", "random", "none", concurrency=2, trials=12)
    specification = read_search_space(write_space(tmp_path, document))
    killer = KillsWorkers(every=3)
    result = launch(specification, LaunchOptions(tmp_path, "workers"), killer)
    sweep = finished(result)
    runs = sweep.data.state.runs
    assert killer.killed >= 4
    assert len(runs) == 24 and {run.outcome for run in runs.values()} == {"completed"}
    events = read_journal(result.folder.record)
    assert sum(event["kind"] == "begin" for event in events) > 24, "no worker was killed while it had a run"
    continued(events)
    for run in runs.values():
        trial = sweep.data.state.trials[run.trial]
        path = result.folder.trials / run.id / "checkpoint.pt"
        state = read_checkpoint(path, fingerprint=trial.fingerprint, seed=run.seed)
        assert state["epoch"] == run.progress == EPOCHS
        history = sweep.client.get_metric_history(sweep.children[run.id].info.run_id, "val/loss")
        assert [metric.step for metric in history] == list(range(1, EPOCHS + 1))
