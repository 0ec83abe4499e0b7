"""The controller: decides what runs next, takes results, ends runs and trials, and writes every decision to the record.

It knows neither Ray nor processes nor clocks: an executor asks :meth:`SweepController.next_run`, trains, and reports. Every
change is an event: written to the record first, then applied to the state, so that a restart finds the same state.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.outcome import OUTCOMES, trial_outcome
from orchestrator.record import Journal
from orchestrator.search.sampler import Branch, Suggestion
from orchestrator.search.study import Study, Told
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.stopping import Population, stopping_rule
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.naming import run_id, trial_id
from orchestrator.sweep.state import Event, RunState, StudyState, SweepState, TrialState
from orchestrator.sweep.studies import make_studies
from orchestrator.sweep.telemetry import Telemetry
from trainables.training.request import RunRequest

REPEATS_BEFORE_UNSEEN = 16
REPEATS_BEFORE_GIVING_UP = 500


class SweepController:
    """One sweep in progress. ``events`` are those of an earlier process, from the record."""

    def __init__(
        self,
        specification: SweepSpecification,
        folder: SweepFolder,
        journal: Journal,
        telemetry: Telemetry,
        events: Iterable[Event] = (),
        clock: Callable[[], float] = time.time,
        listener: Callable[[TrialState, RunState], None] | None = None,
    ) -> None:
        self.specification = specification
        self.folder = folder
        self.telemetry = telemetry
        self.state = SweepState(specification.objective.metric)
        self.studies = make_studies(specification)
        self._spaces = {space.name: space for space in specification.spaces}
        self._journal = journal
        self._clock = clock
        self._listener = listener
        self._rule = stopping_rule(specification.scheduler)
        self._populations = {name: Population(specification.objective.mode) for name in self.studies}
        self._undecided: str | None = None
        """A run whose last result came without the rule's word on it, because the driver died in between."""
        for event in events:
            self._replay(event)
        self._settle()
        self._restarting = [run.id for run in self.state.runs.values() if run.in_flight]
        """Runs that an earlier process had in flight; they go on from their last checkpoint."""

    # What executors call.

    def next_run(self) -> RunRequest | None:
        """The next run to start; None when no new one is left to start."""
        if self._restarting:
            return self._restart(self.state.runs[self._restarting.pop(0)])
        waiting = next((run for run in self.state.runs.values() if not run.started), None)
        if waiting is None:
            trial = self._new_trial()
            if trial is None:
                return None
            waiting = self.state.runs[trial.runs[0]]
        self._record({"kind": "start", "run": waiting.id})
        self.telemetry.run_started(self.state.trials[waiting.trial], waiting)
        return self.request(waiting)

    def _restart(self, run: RunState) -> RunRequest:
        self._record({"kind": "start", "run": run.id})
        self.telemetry.run_resumed(self.state.trials[run.trial], run)
        return self.request(run)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to run."""
        waiting = bool(self._restarting) or any(not run.started for run in self.state.runs.values())
        return not waiting and not any(self._wants_trial(name) for name in self.studies)

    def on_result(self, run: str, payload: Mapping[str, Any]) -> bool:
        """Takes what a worker reports; returns whether the run goes on."""
        state = self.state.runs[run]
        if state.outcome not in (None, "interrupted"):
            return False
        metrics, once = _finite(payload["metrics"]), _finite(payload["once"])
        if not once.keys() <= state.metrics.keys():
            self._take_metrics(state, 0, once)
        outcome = payload["outcome"]
        if outcome is None and self.specification.objective.metric in payload["metrics"].keys() - metrics.keys():
            outcome = "diverged"
        if payload["progress"] > state.progress:
            self._take_metrics(state, payload["progress"], metrics, last=outcome is not None)
            if outcome is None and self._is_stopped(state):
                outcome = "stopped"
        if outcome is not None:
            self._end_run(state, outcome, payload["error"])
        return outcome is None

    def on_lost(self, run: str, reason: str) -> None:
        """The process of a run died more often than is retried."""
        state = self.state.runs[run]
        if state.outcome in (None, "interrupted"):
            self._end_run(state, "failed", {"type": "WorkerDied", "message": reason, "traceback": ""})

    def interrupt(self) -> None:
        """The sweep ends before its end: runs in flight are marked so and can be resumed."""
        for run in list(self.state.runs.values()):
            if run.started and run.outcome is None:
                self._record({"kind": "outcome", "run": run.id, "outcome": "interrupted", "error": None}, durable=True)
                self.telemetry.run_ended(self.state.trials[run.trial], run, "interrupted", None)

    @property
    def in_flight(self) -> list[RunState]:
        return [run for run in self.state.runs.values() if run.in_flight]

    @property
    def planned_runs(self) -> int | None:
        """Runs of the whole sweep; None where it is not known before they are suggested."""
        budgets = [self._budget(study) for study in self.studies.values()]
        if any(budget is None for budget in budgets):
            return None
        return sum(budget for budget in budgets if budget) * self.specification.search.replicates

    # New trials.

    def _new_trial(self) -> TrialState | None:
        """A trial of the study that has come least far; None when every study has had its trials."""
        order = sorted(self.studies, key=lambda name: len(self.state.study(name).trials))
        for name in order:
            while self._wants_trial(name):
                trial = self._suggest(name)
                if trial is not None:
                    return trial
        return None

    def _wants_trial(self, name: str) -> bool:
        state, budget = self.state.study(name), self._budget(self.studies[name])
        return not state.exhausted and (budget is None or len(state.trials) < budget)

    def _budget(self, study: Study) -> int | None:
        wanted = self.specification.trials_per_study
        if wanted is not None or study.kind != "grid":
            return wanted
        return study.number_of_configurations()

    def _suggest(self, name: str) -> TrialState | None:
        """Asks a study once; None where the answer was in the record already, or nothing is left."""
        study, state = self.studies[name], self.state.study(name)
        suggestion = None if self._is_used_up(study, state) else self._ask(study, state)
        if suggestion is None:
            self._record({"kind": "exhausted", "study": name})
            return None
        event = self._suggestion_event(state, suggestion)
        self._record(event)
        known = event["answered_by"]
        if known is None:
            return self.state.trials[event["trial"]]
        if self.state.trials[known].outcome is not None:
            self._tell(state.name, event["number"], self._told(self.state.trials[known]))
        return None

    def _is_used_up(self, study: Study, state: StudyState) -> bool:
        if not state.repeated:
            return False
        total = study.number_of_configurations()
        return len(state.trials) >= total if total is not None else state.repeated >= REPEATS_BEFORE_GIVING_UP

    def _ask(self, study: Study, state: StudyState) -> Suggestion | None:
        if state.repeated < REPEATS_BEFORE_UNSEEN or study.number_of_configurations() is None:
            return study.ask()
        for index in study.unseen_order():
            suggestion = study.configuration(int(index))
            if suggestion and self._fingerprint(suggestion) not in state.by_fingerprint:
                return study.replay(suggestion)
        return None

    def _suggestion_event(self, state: StudyState, suggestion: Suggestion) -> dict[str, Any]:
        space, number = suggestion.branch.space, state.suggestions
        request = self._configured(space, suggestion.drawn)
        fingerprint = request.fingerprint()
        known = state.by_fingerprint.get(fingerprint)
        identity = trial_id(state.name, number)
        seeds = [self.specification.search.seed + i for i in range(self.specification.search.replicates)]
        return {
            "kind": "suggestion",
            "study": state.name,
            "number": number,
            "trial": identity if known is None else None,
            "answered_by": known,
            "space": space.name,
            "entry": space.entry,
            "architecture": space.architecture.name,
            "drawn": dict(suggestion.drawn),
            "configuration": {
                "model": dict(request.model),
                "task": dict(request.task_values),
                "training": dict(request.training),
            },
            "fingerprint": fingerprint,
            "runs": {run_id(identity, seed): seed for seed in seeds} if known is None else {},
        }

    def _fingerprint(self, suggestion: Suggestion) -> str:
        return self._configured(suggestion.branch.space, suggestion.drawn).fingerprint()

    def _configured(self, space: StudySpace, drawn: Mapping[str, Any]) -> RunRequest:
        configuration = space.resolve(drawn)
        return RunRequest(
            run="",
            architecture=space.architecture.name,
            task=space.task_type.name,
            model=configuration.model,
            task_values=configuration.task,
            training=configuration.training,
            artifacts=self.folder.artifacts,
        )

    def request(self, run: RunState) -> RunRequest:
        """What a worker needs for a run."""
        trial = self.state.trials[run.trial]
        keep = self.specification.checkpoints.keep
        return RunRequest(
            run=run.id,
            architecture=trial.architecture,
            task=self.specification.task_type.name,
            model=trial.configuration["model"],
            task_values=trial.configuration["task"],
            training=trial.configuration["training"],
            seed=run.seed,
            artifacts=self.folder.artifacts.resolve(),
            folder=None if keep == "none" else (self.folder.trials / run.id).resolve(),
            keep_checkpoints=keep,
            objective_metric=self.specification.objective.metric,
            objective_mode=self.specification.objective.mode,  # type: ignore[arg-type]
        )

    # Results and ends.

    def _take_metrics(self, run: RunState, progress: int, metrics: Mapping[str, float], last: bool = False) -> None:
        self._record({"kind": "result", "run": run.id, "progress": progress, "metrics": dict(metrics), "last": last})
        self.telemetry.run_reported(run, progress, metrics)

    def _is_stopped(self, run: RunState) -> bool:
        if not run.curve or run.progress not in run.curve:
            return False
        population = self._populations[self.state.trials[run.trial].study]
        return self._rule.decide(population, run.id, run.progress, run.curve[run.progress]) == "stop"

    def _end_run(self, run: RunState, outcome: str, error: Mapping[str, str] | None) -> None:
        trial = self.state.trials[run.trial]
        self._record({"kind": "outcome", "run": run.id, "outcome": outcome, "error": error}, durable=True)
        self.telemetry.run_ended(trial, run, outcome, error)
        if self._listener:
            self._listener(trial, run)
        runs = self.state.runs_of(trial.id)
        if all(other.outcome not in (None, "interrupted") for other in runs):
            self._end_trial(trial, runs)

    def _end_trial(self, trial: TrialState, runs: list[RunState]) -> None:
        outcome = trial_outcome([run.outcome or "" for run in runs])
        values = [value for run in runs if run.outcome == "completed" and (value := self.value(run)) is not None]
        value = statistics.fmean(values) if values else None
        if outcome == "completed" and value is None:
            outcome = "failed"
        self._record({"kind": "trial_end", "trial": trial.id, "outcome": outcome, "value": value})
        told = self._told(trial)
        for number in (trial.number, *trial.twins):
            self._tell(trial.study, number, told)

    def value(self, run: RunState) -> float | None:
        """The objective of a run: at its last step, or its best."""
        return self.specification.objective.value_of(run.curve, run.metrics)

    def _told(self, trial: TrialState) -> Told:
        outcome = OUTCOMES[trial.outcome or "failed"]
        runs = self.state.runs_of(trial.id)
        curve = next((run.curve for run in runs if run.curve), {}) if outcome.sampler_state == "PRUNED" else {}
        constraints = {outcome.constraint: 1.0} if outcome.constraint else {}
        return Told(outcome.sampler_state or "FAIL", trial.value, dict(curve), constraints | self._measured(runs))

    def _measured(self, runs: list[RunState]) -> dict[str, float]:
        """Violations of the measured constraints, greater than zero where one is violated."""
        violations = {}
        for soft in self.specification.measured:
            values = [run.metrics[soft.metric] for run in runs if soft.metric in run.metrics]
            if values and soft.max is not None:
                violations[f"{soft.metric} <= {soft.max:g}"] = max(values) - soft.max
            if values and soft.min is not None:
                violations[f"{soft.metric} >= {soft.min:g}"] = soft.min - min(values)
        return violations

    def _tell(self, study: str, number: int, told: Told) -> None:
        self._record({"kind": "told", "study": study, "number": number, "told": asdict(told)})
        self.studies[study].tell(number, told)

    # Events.

    def _record(self, event: dict[str, Any], durable: bool = False) -> None:
        self._journal.append(event | {"time": round(self._clock(), 3)}, durable)
        self._apply(event)

    def _apply(self, event: Event) -> None:
        self.state.apply(event)
        if event["kind"] == "result" and event["progress"]:
            value = event["metrics"].get(self.specification.objective.metric)
            if value is not None:
                trial = self.state.trials[self.state.runs[event["run"]].trial]
                self._populations[trial.study].add(event["run"], event["progress"], value)

    def _replay(self, event: Event) -> None:
        """Applies an event of the record, and brings the study that it concerns to where it was."""
        self._apply(event)
        if event["kind"] == "suggestion":
            self.studies[event["study"]].replay(Suggestion(self._branch(event), event["drawn"]))
        elif event["kind"] == "told":
            told = dict(event["told"])
            told["intermediate"] = {int(step): value for step, value in told["intermediate"].items()}
            self.studies[event["study"]].tell(event["number"], Told(**told))

        if event["kind"] != "tracking":
            self._undecided = event["run"] if event["kind"] == "result" and not event["last"] else None

    def _settle(self) -> None:
        """Does what a crash has left undone between two events that belong together."""
        if self._undecided is not None and self._is_stopped(self.state.runs[self._undecided]):
            self._end_run(self.state.runs[self._undecided], "stopped", None)
        for trial in list(self.state.trials.values()):
            runs = self.state.runs_of(trial.id)
            if trial.outcome is None and all(run.outcome not in (None, "interrupted") for run in runs):
                self._end_trial(trial, runs)
        for name, study in self.studies.items():
            for number in study.running:
                trial = self.state.trials[self.state.study(name).answers[number]]
                if trial.outcome is not None:
                    self._tell(name, number, self._told(trial))

    def _branch(self, event: Event) -> Branch:
        branches = self.studies[event["study"]].branches
        return next(branch for branch in branches if branch.space.name == event["space"])


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """What the record can hold: it is JSON, which has no NaN and no infinity."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
