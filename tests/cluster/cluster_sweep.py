"""A sweep that is driven on a host made of namespaces and watched through its record, and what must hold of it in the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from hosts import Host
from mlflow import MlflowClient
from waiting import wait_until

from orchestrator.record import read_journal
from orchestrator.report.collect import SweepData, load_sweep
from orchestrator.sweep.folder import SweepFolder
from trainables.training.attempts import ATTEMPTS
from trainables.training.checkpoint import LAST_CHECKPOINT, read_checkpoint

LONGEST_S = 240.0
EPOCHS = 6
NAME = "tiny"
WORKER = "Trainable"
"""In the title of a process that runs trials: Tune's own class while it trains, ours between two calls."""


def space_of(trials: int, resources: Mapping[str, Any], examples: int = 1024, epochs: int = EPOCHS) -> dict[str, Any]:
    """One entry, runs of ``epochs`` short epochs, a checkpoint after each."""
    task = {"name": "mqar", "vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4}
    return {
        "name": NAME,
        "task": {**task, "train_examples": examples, "val_examples": 32},
        "model": {"dim": 16, "n_layers": 1, "n_heads": 2},
        "architectures": {"gpt": {"dk": {"int": [2, 64], "step": 2}, "dv": {"int": [2, 64], "step": 2}}},
        "training": {"lr": {"float": [1e-4, 1e-2], "log": True}, "batch_size": 32, "epochs": epochs},
        "objective": {"metric": "val/loss"},
        "search": {"sampler": "random", "trials": trials},
        "resources": dict(resources),
        "checkpoints": {"interval": 0.01},
    }


@dataclass
class ClusterSweep:
    """A driver on ``host``, whose sweep lies in a folder that all hosts share."""

    host: Host
    storage: Path
    process: subprocess.Popen[str]

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.storage / NAME)

    @property
    def log(self) -> str:
        return (self.storage / "log").read_text()[-6000:]

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What the record holds so far."""
        events = read_journal(self.folder.record) if self.folder.record.exists() else []
        assert self.process.poll() in (None, 0), f"the driver ended:\n{self.log}"
        return [event for event in events if kind in (None, event["kind"])]

    def in_flight(self) -> set[str]:
        """The runs that were begun by a process and have not ended."""
        events = self.events()
        return {event["run"] for event in events if event["kind"] == "begin"} - {
            event["run"] for event in events if event["kind"] == "outcome"
        }

    def wait_for(self, ask: Any, what: str, seconds: float = 120.0) -> Any:
        """Raises AssertionError where it takes too long, or the sweep has ended without it."""

        def while_it_runs() -> Any:
            ended = self.process.poll() is not None
            found = ask()
            assert found or not ended, f"the sweep ended before {what}"
            return found

        try:
            return wait_until(while_it_runs, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the driver said:\n{self.log}") from None

    def wait_for_end(self) -> SweepData:
        """Raises AssertionError where it does not end well in time."""
        try:
            status = self.process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the sweep does not end:\n{self.log}\n{self.events()[-20:]}") from None
        assert status == 0, f"the driver ended with {status}:\n{self.log}"
        return load_sweep(self.folder)


@contextmanager
def sweep_on(host: Host, storage: Path, space: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[ClusterSweep]:
    """``memsweep run`` on ``host``; the driver is ended with the context."""
    storage.mkdir(exist_ok=True)
    path = storage / "space.yaml"
    path.write_text(yaml.safe_dump(dict(space), sort_keys=False))
    line = [sys.executable, "-m", "orchestrator", "run", path, "--yes", "--storage", storage, "--address", env["RAY_ADDRESS"]]
    with (storage / "log").open("w") as log:
        process = host.popen(line, env=env, stdout=log, stderr=log)
    sweep = ClusterSweep(host, storage, process)
    try:
        yield sweep
    finally:
        if process.poll() is None:
            host.send(process, signal.SIGKILL)
            process.kill()
        process.wait()


def assert_whole(sweep: ClusterSweep, data: SweepData, runs: int, epochs: int = EPOCHS) -> None:
    """Every run completed once, with a checkpoint of its last step, a history without a gap, an MLflow run, and a told trial."""
    state = data.state
    assert {run.outcome for run in state.runs.values()} == {"completed"}, {
        run.id: (run.outcome, run.metrics) for run in state.runs.values() if run.outcome != "completed"
    }
    assert len(state.runs) == runs
    ends = [event["run"] for event in sweep.events("outcome")]
    assert sorted(ends) == sorted(state.runs), "an outcome is missing or there twice"
    client = MlflowClient(sweep.folder.default_tracking_uri)
    experiment = client.get_experiment_by_name(data.specification.tracking.experiment or data.name)
    assert experiment is not None
    for run in state.runs.values():
        assert list(run.curve) == list(range(1, run.progress + 1)), f"a step of {run.id} is missing"
        home = sweep.folder.trials / run.id
        checkpoint = read_checkpoint(home / LAST_CHECKPOINT, fingerprint=state.trials[run.trial].fingerprint, seed=run.seed)
        assert checkpoint["epoch"] == run.progress == epochs
        assert not (home / ATTEMPTS).exists()
        (found,) = client.search_runs([experiment.experiment_id], f"tags.`memsweep.run` LIKE '%/{run.id}'")
        history = client.get_metric_history(found.info.run_id, "val/loss")
        assert [(point.step, point.value) for point in history] == sorted(run.curve.items())
        assert found.info.status == "FINISHED" and found.data.tags["outcome"] == "completed"
    assert len(client.search_runs([experiment.experiment_id], max_results=1000)) == runs + 1
    view = f"sqlite:///{sweep.folder.study_view}"
    studies = [optuna.load_study(study_name=name, storage=view) for name in optuna.get_all_study_names(view)]
    assert [trial.state.name for study in studies for trial in study.trials] == ["COMPLETE"] * runs
