"""A run whose GPU ran out of memory is begun once more with what it needs, where it can be given that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from simulation import Killed, Script, Simulation, assert_settled, by_structure, optuna_trials, space, told_numbers

from orchestrator.space.reading import read_search_space_text
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.telemetry import MlflowTelemetry
from orchestrator.tracking import Tracker
from trainables.training.request import RunRequest

NEEDS_MIB = 5000.0
TEXT = space("{trials: 3}", **{"  unified_kv: {du: {int: [8, 128], step: 4}}\n": ""})


class OnGpus(Simulation):
    """Runs tell what they needed when memory ran out; ``gives_mib`` can be given to one."""

    def __init__(
        self, path: Path, scripts: Any, *, gives_mib: float = 10_000.0, needs_mib: float | None = NEEDS_MIB, **more: Any
    ):
        super().__init__(TEXT, path, scripts, **more)
        self.needs_mib = needs_mib
        self.controller.may_retry = lambda needed_mib: needed_mib <= gives_mib
        self.given: list[tuple[str, int, float | None]] = []
        """Each attempt that began: the run, its number, and what an earlier one needed."""
        suggest: Callable[[], RunRequest | None] = self.controller.next_run

        def next_run() -> RunRequest | None:
            request = suggest()
            if request is not None:
                self.given.append((request.run, request.attempt, self.controller.needed_mib(request.run)))
            return request

        self.controller.next_run = next_run  # type: ignore[method-assign]

    def run(self, steps: float = float("inf")) -> SweepController:
        while steps > 0:
            self._fill()
            if not self.active:
                break
            worker = self.active.pop(0)
            payload = worker.step() | {"needed_mib": None}
            if payload["outcome"] == "oom":
                payload["needed_mib"] = self.needs_mib
            if self.controller.on_result(worker.request.run, payload):
                self.active.append(worker)
            steps -= 1
        return self.controller


def short_of_memory(attempts: int) -> Callable[[RunRequest], Script]:
    """The first run's first attempts end in their third epoch; all else completes."""

    def script(request: RunRequest) -> Script:
        if request.run.startswith("gpt-0000") and request.attempt <= attempts:
            return Script([0.1] * 6, ends_at=3, outcome="oom")
        return by_structure(request)

    return script


def events_of(simulation: Simulation, run: str) -> list[str]:
    kinds = ("start", "retry", "outcome")
    return [event["kind"] for event in simulation.events() if event["kind"] in kinds and event["run"] == run]


def test_it_is_begun_once_more_with_its_need_and_counts_as_one_trial(tmp_path: Path) -> None:
    simulation = OnGpus(tmp_path / "s", short_of_memory(1))
    controller = simulation.run()
    first = simulation.given[0][0]
    assert [given for given in simulation.given if given[0] == first] == [(first, 1, None), (first, 2, NEEDS_MIB)]
    assert all(attempt == 1 and need is None for run, attempt, need in simulation.given if run != first)
    assert events_of(simulation, first) == ["start", "retry", "start", "outcome"]
    assert controller.state.runs[first].outcome == "completed" and len(controller.state.trials) == 3
    assert all(trial.state.name == "COMPLETE" for trial in optuna_trials(controller, "gpt"))
    assert_settled(controller)


def test_a_second_lack_of_memory_ends_it(tmp_path: Path) -> None:
    simulation = OnGpus(tmp_path / "s", short_of_memory(2))
    controller = simulation.run()
    first = simulation.given[0][0]
    assert events_of(simulation, first) == ["start", "retry", "start", "outcome"]
    assert controller.state.runs[first].outcome == "oom"
    assert optuna_trials(controller, "gpt")[0].constraints == {"oom": 1.0}
    assert_settled(controller)


@pytest.mark.parametrize(
    ("gives_mib", "needs_mib"), [(4999.0, NEEDS_MIB), (10_000.0, None)], ids=["it cannot be given that", "nobody knows the need"]
)
def test_otherwise_it_ends_at_once(tmp_path: Path, gives_mib: float, needs_mib: float | None) -> None:
    simulation = OnGpus(tmp_path / "s", short_of_memory(1), gives_mib=gives_mib, needs_mib=needs_mib)
    controller = simulation.run()
    first = simulation.given[0][0]
    assert events_of(simulation, first) == ["start", "outcome"]
    assert controller.state.runs[first].outcome == "oom"
    assert_settled(controller)


def test_a_driver_that_dies_after_any_event_goes_on_with_the_need(tmp_path: Path) -> None:
    whole = OnGpus(tmp_path / "whole", short_of_memory(1), concurrency=2)
    expected = {run.id: run.outcome for run in whole.run().state.runs.values()}
    first = whole.given[0][0]
    for events in range(1, len(whole.events()) - 1):
        path = tmp_path / str(events)
        with pytest.raises(Killed):
            OnGpus(path, short_of_memory(1), concurrency=2, events_left=events).run()
        resumed = OnGpus(path, short_of_memory(1), concurrency=2)
        known = any(event["kind"] == "retry" for event in resumed.events())
        controller = resumed.run()
        assert_settled(controller)
        assert {run.id: run.outcome for run in controller.state.runs.values()} == expected, events
        assert controller.state.runs[first].needed_mib in ((NEEDS_MIB,) if known else (NEEDS_MIB, None))
        if known:
            assert all(need == NEEDS_MIB for run, _, need in resumed.given if run == first), events
        numbers = told_numbers(resumed.events())
        assert len(numbers) == len(set(numbers)) == 3


class Tags:
    """A tracker that keeps tags and how runs were closed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def set_tags(self, run_key: str, tags: dict[str, str]) -> None:
        self.told.append((run_key, tags))

    def close_run(self, run_key: str, status: str, time_ms: int | None) -> None:
        self.told.append((run_key, status))

    def note(self, position: int) -> None: ...

    def open_run(self, *arguments: Any) -> None: ...

    def log_metrics(self, *arguments: Any) -> None: ...

    def log_artifact(self, *arguments: Any) -> None: ...


def test_mlflow_is_told_in_a_tag_while_the_run_goes_on(tmp_path: Path) -> None:
    tags = Tags()
    telemetry = MlflowTelemetry(cast(Tracker, tags), read_search_space_text(TEXT, "space.yaml"), "i", tmp_path)
    simulation = OnGpus(tmp_path / "s", short_of_memory(1), telemetry=telemetry)
    simulation.run()
    key = f"i/{simulation.given[0][0]}"
    told = [what for run, what in tags.told if run == key]
    assert told == [
        {"memsweep.retried": "ran out of memory; begun once more with 5000 MiB"},
        {"outcome": "completed"},
        "FINISHED",
    ]
