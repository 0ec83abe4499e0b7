"""Drivers that are killed at random moments and resumed, as a user's are, and what must hold of the sweep in the end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient

from orchestrator.record import read_journal
from orchestrator.report.collect import SweepData, load_sweep
from orchestrator.sweep.folder import SweepFolder

LONGEST_LIFE_S = 180.0
"""A driver that does nothing for so long hangs."""
EVENTS_OF_A_LIFE = (1, 9)
"""How many events a driver may write before it is killed; a run of eight epochs has about fifteen."""
KILLS_DURING_START = 0.2
LONGEST_START_S = 8.0


@dataclass
class Chaos:
    """One sweep, run by one driver after another."""

    space: Path
    storage: Path
    name: str
    tracking_uri: str | None = None
    within_runs: bool = False
    """Kill only while a run is between two of its results, never in the start of a driver or between runs."""
    kills: int = 0

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.storage / self.name)

    def undisturbed(self) -> int:
        """One driver to its end; its exit status."""
        process = self._start()
        return process.wait(timeout=LONGEST_LIFE_S * 5)

    def disturbed(self, kills: int, seed: int) -> int:
        """Kills ``kills`` drivers, then lets one go to the end; its exit status. Fails where a driver ends before it is killed
        although that was due."""
        generator = random.Random(seed)
        while self.kills < kills:
            process = self._start()
            if self._wait_for_the_moment(process, generator):
                self.kills += 1
            self._kill(process)
            if process.returncode == 0:
                break
        return self.undisturbed()

    def _start(self) -> subprocess.Popen[bytes]:
        what = ["resume", str(self.folder.path)] if self.folder.record.exists() else ["run", str(self.space), "--yes"]
        arguments = [sys.executable, "-m", "orchestrator", *what, "--storage", str(self.storage)]
        arguments += [] if what[0] == "resume" else ["--name", self.name]
        arguments += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        log = (self.storage / f"{self.name}.log").open("ab")
        return subprocess.Popen(arguments, cwd=self.storage, stdout=log, stderr=log, start_new_session=True)

    def _wait_for_the_moment(self, process: subprocess.Popen[bytes], generator: random.Random) -> bool:
        """Waits for a random moment: in the driver's start, or so many events later. False when the driver ended before."""
        if not self.within_runs and generator.random() < KILLS_DURING_START:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(generator.uniform(0, LONGEST_START_S))
            return process.poll() is None
        due = self._events() + generator.randint(*EVENTS_OF_A_LIFE)
        deadline = time.monotonic() + LONGEST_LIFE_S
        while (self._events() < due or self._is_between_runs()) and process.poll() is None:
            assert time.monotonic() < deadline, f"a driver hangs: {(self.storage / f'{self.name}.log').read_text()[-4000:]}"
            time.sleep(0.02)
        time.sleep(0.0 if self.within_runs else generator.uniform(0, 0.2))
        return process.poll() is None

    def _is_between_runs(self) -> bool:
        last = read_journal(self.folder.record)[-1] if self.within_runs else {}
        return self.within_runs and not (last["kind"] == "result" and last["progress"] and not last["last"])

    def _events(self) -> int:
        record = self.folder.record
        return record.read_bytes().count(b"\n") if record.exists() else 0

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        """The driver alone: what it started must notice by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def load(self) -> SweepData:
        return load_sweep(self.folder)

    def log(self) -> str:
        return (self.storage / f"{self.name}.log").read_text()


def ending(data: SweepData) -> set[tuple[Any, ...]]:
    """What a kill must not change."""
    objective = data.specification.objective
    trials = data.state.trials
    return {
        (trials[run.trial].fingerprint, run.seed, run.outcome, objective.value_of(run.curve, run.metrics))
        for run in data.state.runs.values()
    }


def assert_whole(chaos: Chaos) -> SweepData:
    """Every run ended once, was trained without a repeat, was told once, and has one MLflow run with one whole history."""
    data = chaos.load()
    events = read_journal(chaos.folder.record)
    runs, trials = data.state.runs.values(), data.state.trials.values()
    assert all(run.outcome not in (None, "interrupted") for run in runs)
    assert all(trial.outcome is not None for trial in trials)
    ends = [event["run"] for event in events if event["kind"] == "outcome" and event["outcome"] != "interrupted"]
    assert sorted(ends) == sorted(run.id for run in runs), "an outcome is missing or there twice"
    told = [(event["study"], event["number"]) for event in events if event["kind"] == "told"]
    assert len(told) == len(set(told)) == sum(event["kind"] == "suggestion" for event in events)
    fingerprints = [(data.state.trials[run.trial].fingerprint, run.seed) for run in runs]
    assert len(fingerprints) == len(set(fingerprints))
    assert_feasible(data)
    assert_study_finished(chaos.folder)
    assert_histories(chaos, data)
    return data


def assert_feasible(data: SweepData) -> None:
    spaces = {space.name: space for space in data.specification.spaces}
    assert all(spaces[trial.space].is_feasible(trial.drawn) for trial in data.state.trials.values())


def assert_study_finished(folder: SweepFolder) -> None:
    storage = f"sqlite:///{folder.study_view}"
    for name in optuna.get_all_study_names(storage):
        assert all(trial.state.is_finished() for trial in optuna.load_study(study_name=name, storage=storage).trials)


def assert_histories(chaos: Chaos, data: SweepData) -> None:
    client = MlflowClient(chaos.tracking_uri or chaos.folder.default_tracking_uri)
    experiment = client.get_experiment_by_name(data.specification.tracking.experiment or data.state.header["name"])
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    assert all(run.info.status != "RUNNING" for run in found), {run.info.run_name: run.info.status for run in found}
    by_key = {run.data.tags["memsweep.run"].rpartition("/")[2]: run for run in found}
    assert len(by_key) == len(found), "an MLflow run was created twice"
    assert by_key.keys() == data.state.runs.keys() | {"sweep"}
    metric = data.specification.objective.metric
    for run in data.state.runs.values():
        history = client.get_metric_history(by_key[run.id].info.run_id, metric)
        assert [(point.step, point.value) for point in history] == sorted(run.curve.items()), run.id
        assert list(run.curve) == list(range(1, run.progress + 1)), run.id
        assert by_key[run.id].data.tags["outcome"] == run.outcome


def continued(events: list[dict[str, Any]]) -> list[int]:
    """The steps from which runs that had reported already were taken up again; each at or behind what was reported last."""
    reported: dict[str, int] = {}
    taken_up = []
    for event in events:
        if event["kind"] == "result":
            reported[event["run"]] = max(event["progress"], reported.get(event["run"], 0))
        elif event["kind"] == "begin" and reported.get(event["run"]):
            assert event["continued_from"] >= reported[event["run"]], f"{event} trains again what was reported"
            taken_up.append(event["continued_from"])
    return taken_up


def descendants(process: int) -> list[int]:
    """The processes under one, from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [process]
    for candidate in found:
        found += [child for child, parent in parents.items() if parent == candidate and child not in found]
    return found[1:]


def trial_processes(driver: int) -> list[int]:
    """The processes in which a driver's runs are trained, by their titles: Tune's own class while they train, ours in between."""
    names: Mapping[int, str] = {pid: _command(pid) for pid in descendants(driver)}
    return [pid for pid, name in names.items() if name.startswith("ray::") and "Trainable" in name]


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
