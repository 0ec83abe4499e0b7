"""The controller: decides what runs next, takes results, ends runs and trials, and writes every decision to the record.

It knows neither Ray nor processes nor clocks: an executor asks :meth:`SweepController.next_run`, trains, and reports. Every
change is an event: written to the record first, then applied to the state and told to the tracker, so that a restart finds
the same state and nothing that was recorded is missing in MLflow.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.outcome import trial_outcome
from orchestrator.record import Journal
from orchestrator.search.sampler import Suggestion
from orchestrator.search.study import Study, Told
from orchestrator.space.specification import SweepSpecification
from orchestrator.stopping import Population, stopping_rule
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.naming import compared_parameters, run_name
from orchestrator.sweep.proposals import Proposals
from orchestrator.sweep.state import Event, RunState, SweepState, TrialState
from orchestrator.sweep.studies import make_studies
from orchestrator.sweep.telemetry import Telemetry
from orchestrator.sweep.telling import told, trial_values
from orchestrator.sweep.warm_start import home_of, objectives_of
from trainables.finite import finite_metrics
from trainables.storage.run_place import RunPlace
from trainables.training.attempts import attempt_folder, earlier_folders, publish
from trainables.training.request import RunRequest

_SAYS_NOTHING_OF_DECISIONS = ("tracking", "begin", "warning", "resume", "end")


class SweepController:
    """One sweep in progress. ``events`` are those of earlier processes, from the record."""

    def __init__(
        self,
        specification: SweepSpecification,
        folder: SweepFolder,
        journal: Journal,
        telemetry: Telemetry,
        events: Sequence[Event] = (),
        clock: Callable[[], float] = time.time,
        listener: Callable[[TrialState, RunState], None] | None = None,
        warn: Callable[[str, str], None] | None = None,
        place_of: Callable[[RunState], RunPlace | None] = lambda run: None,
    ) -> None:
        """``place_of``: where the files of a run are kept, if the sweep's storage is behind a URI."""
        self.specification = specification
        self.folder = folder
        self.telemetry = telemetry
        self.state = SweepState(specification.objective_names)
        self.studies = make_studies(specification)
        self.proposals = Proposals(specification, self.studies, self.state)
        self.may_retry: Callable[[float], bool] = lambda needed_mib: False
        """Whether a run whose GPU ran out of memory can be given the MiB that it needs; set by who gives them."""
        self._journal = journal
        self._clock = clock
        self._listener: Callable[[TrialState, RunState], None] | None = None
        self._warn = warn
        self._place_of = place_of
        self._rule = stopping_rule(specification.scheduler)
        self._populations = self._empty_populations()
        self._undecided: str | None = None
        """A run whose last result came without the rule's word on it, because the driver died in between."""
        self._replay_all(events)
        self._settle()
        going = [run for run in self.state.runs.values() if self.state.trials[run.trial].kept]
        self._restarting = deque(run.id for run in going if run.in_flight)
        """Runs that an earlier process had in flight; they go on from their last checkpoint."""
        self._waiting = deque(run.id for run in going if not run.started)
        self._listener = listener

    # What executors call.

    def next_run(self) -> RunRequest | None:
        """The next run to start; None when no new one is left to start."""
        if not self._restarting and not self._waiting:
            self._propose()
        queue = self._restarting or self._waiting
        if not queue:
            return None
        run = self.state.runs[queue.popleft()]
        self._record({"kind": "start", "run": run.id, **({} if run.started else self._description(run))})
        return self.request(run)

    def _description(self, run: RunState) -> dict[str, Any]:
        """What a person reads of a run and compares it by."""
        trial = self.state.trials[run.trial]
        space = self.proposals.branch(trial.study, trial.space).space
        seed = run.seed if self.specification.search.replicates > 1 else None
        params = {"entry": trial.entry, "architecture": trial.architecture, **compared_parameters(space, trial.configuration)}
        return {"name": run_name(space, trial.configuration, seed), "params": params}

    def hand_out_again(self, run: str) -> RunRequest:
        """A run whose process was lost, as another attempt."""
        self._record({"kind": "start", "run": run})
        return self.request(self.state.runs[run])

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to run."""
        return not self._restarting and not self._waiting and not self.proposals.wanted

    def on_result(self, run: str, payload: Mapping[str, Any]) -> bool:
        """Takes what a worker reports; returns whether the run goes on."""
        state = self.state.runs[run]
        if self.has_ended(run):
            return False
        self._take_note(state, payload)
        metrics, once = finite_metrics(payload["metrics"]), finite_metrics(payload["once"])
        if fresh := {name: value for name, value in once.items() if name not in state.metrics}:
            self._take_metrics(state, 0, fresh)
        outcome = payload["outcome"]
        if outcome is None and self._objectives & (payload["metrics"].keys() - metrics.keys()):
            outcome = "diverged"
        if payload["progress"] > state.progress:
            self._take_metrics(state, payload["progress"], metrics, last=outcome is not None)
            if outcome is None and self._is_stopped(state):
                outcome = "stopped"
        if outcome == "oom" and self._is_retried(state, payload):
            return False
        if outcome is not None:
            self._end_run(state, outcome, payload["error"])
        return outcome is None

    def on_lost(self, run: str, reason: str, outcome: str = "failed") -> None:
        """The process of a run died more often than is retried, or (``oom``) was killed for memory."""
        state = self.state.runs[run]
        if not self.has_ended(run):
            self._end_run(state, outcome, {"type": "WorkerDied", "message": reason, "traceback": ""})

    def has_ended(self, run: str) -> bool:
        """Whether nothing more will come of it."""
        return self.state.runs[run].outcome not in (None, "interrupted")

    def needed_mib(self, run: str) -> float | None:
        """What an attempt of the run would have needed of its GPU when that ran out of memory; None where none ever did."""
        return self.state.runs[run].needed_mib

    def warn(self, run: str, message: str) -> None:
        """Something went wrong with or around a run without ending it."""
        self._record({"kind": "warning", "run": run, "message": message})
        if self._warn:
            self._warn(run, message)

    def interrupt(self) -> None:
        """The sweep ends before its end: runs in flight are marked so and can be resumed."""
        for run in list(self.state.runs.values()):
            if run.started and run.outcome is None:
                self._interrupt_run(run)

    @property
    def in_flight(self) -> list[RunState]:
        """The runs that were begun and have not ended, those of earlier processes included; callable from any thread."""
        runs = list(self.state.runs.values())  # at once: the control loop adds runs meanwhile
        return [run for run in runs if run.in_flight and self.state.trials[run.trial].kept]

    @property
    def planned_runs(self) -> int | None:
        """Runs of the whole sweep; None where it is not known before they are suggested."""
        return self.proposals.planned_runs

    def request(self, run: RunState) -> RunRequest:
        """What a worker needs for a run."""
        trial, specification = self.state.trials[run.trial], self.specification
        home = (self.folder.trials / run.id).resolve()
        request = RunRequest(
            run=run.id,
            attempt=run.attempts,
            architecture=trial.architecture,
            task=specification.task_type.name,
            model=trial.configuration["model"],
            task_values=trial.configuration["task"],
            training=trial.configuration["training"],
            seed=run.seed,
            artifacts=self.folder.artifacts.resolve(),
            folder=attempt_folder(home, run.attempts),
            earlier=earlier_folders(home, run.attempts),
            keep_checkpoints=specification.checkpoints.keep,
            checkpoint_seconds=specification.checkpoints.interval,
            objective_metric=specification.objective.metric,
            objective_mode=specification.objective.mode,
            other_objectives=tuple(specification.objective_names[1:]),
        )
        place = self._place_of(run)
        return request if place is None else request.placed(place)

    def value(self, run: RunState) -> float | None:
        """The first objective of a run: at its last step, or its best."""
        return self.specification.objective.value_of(run.curve, run.metrics)

    # New trials.

    def _propose(self) -> None:
        """Asks for suggestions until one makes a new trial, whose runs then wait."""
        for event in self.proposals.events():
            self._record(event)
            if event["kind"] == "suggestion":
                self._take_suggestion(event)

    def _take_suggestion(self, event: Event) -> None:
        known = event["answered_by"]
        if known is None:
            self._waiting.extend(event["runs"])
        elif self.state.trials[known].outcome is not None:
            self._tell(event["study"], event["number"], self._told(self.state.trials[known]))

    # Results and ends.

    def _take_note(self, run: RunState, payload: Mapping[str, Any]) -> None:
        """What a worker says beside its results: that it took the run up, and what went wrong without ending it."""
        begun, warning = payload.get("begun"), payload.get("warning")
        if begun:
            self._record({"kind": "begin", "run": run.id, **begun})
        if warning:
            self.warn(run.id, warning)

    def _is_retried(self, run: RunState, payload: Mapping[str, Any]) -> bool:
        """Once, where it is known what the run needs and it can be given that."""
        needed_mib = payload.get("needed_mib")
        if needed_mib is None or run.needed_mib is not None or not self.may_retry(needed_mib):
            return False
        self._record({"kind": "retry", "run": run.id, "needed_mib": needed_mib, "error": payload["error"]})
        self._restarting.append(run.id)
        return True

    def _take_metrics(self, run: RunState, progress: int, metrics: Mapping[str, float], last: bool = False) -> None:
        self._record({"kind": "result", "run": run.id, "progress": progress, "metrics": dict(metrics), "last": last})

    @property
    def _objectives(self) -> set[str]:
        return set(self.specification.objective_names)

    def _is_stopped(self, run: RunState) -> bool:
        if not run.curve or run.progress not in run.curve:
            return False
        population = self._populations[self.state.trials[run.trial].study]
        return self._rule.decide(population, run.id, run.progress, run.curve[run.progress]) == "stop"

    def _end_run(self, run: RunState, outcome: str, error: Mapping[str, str] | None) -> None:
        trial = self.state.trials[run.trial]
        with contextlib.suppress(OSError):  # `Tidying` tries again
            publish((self.folder.trials / run.id).resolve(), run.attempts)
        self._record({"kind": "outcome", "run": run.id, "outcome": outcome, "error": error})
        if self._listener:
            self._listener(trial, run)
        self._end_trial_if_due(trial)

    def _interrupt_run(self, run: RunState) -> None:
        self._record({"kind": "outcome", "run": run.id, "outcome": "interrupted", "error": None})

    def _end_trial_if_due(self, trial: TrialState) -> None:
        runs = self.state.runs_of(trial.id)
        if trial.outcome is not None or any(run.outcome in (None, "interrupted") for run in runs):
            return
        outcome = trial_outcome([run.outcome or "" for run in runs])
        values = trial_values(self.specification, runs)
        if outcome == "completed" and values is None:
            outcome = "failed"
        self._record({"kind": "trial_end", "trial": trial.id, "outcome": outcome, "values": values})
        verdict = self._told(trial)
        for number in (trial.number, *trial.twins):
            self._tell(trial.study, number, verdict)

    def _told(self, trial: TrialState) -> Told:
        return told(self.specification, trial, self.state.runs_of(trial.id))

    def _tell(self, study: str, number: int, verdict: Told) -> None:
        self._record({"kind": "told", "study": study, "number": number, "told": asdict(verdict)})
        self.studies[study].tell(number, verdict)

    # Events.

    def _record(self, event: dict[str, Any]) -> None:
        timed = event | {"time": round(self._clock(), 3)}
        position = self._journal.append(timed)
        if event["kind"] == "outcome":
            self._journal.synchronize_soon()
        self._apply(timed)
        self.telemetry.tell(timed, self.state, position)

    def _apply(self, event: Event) -> None:
        self.state.apply(event)
        if event["kind"] == "result" and event["progress"]:
            self._add_to_population(self.state.runs[event["run"]], event["progress"])

    def _add_to_population(self, run: RunState, progress: int) -> None:
        population = self._populations.get(self.state.trials[run.trial].study)
        if population is not None and progress in run.curve:
            population.add(run.id, progress, run.curve[progress])

    def _empty_populations(self) -> dict[str, Population]:
        return {name: Population(self.specification.objective.mode) for name in self.studies}

    def _replay_all(self, events: Sequence[Event]) -> None:
        """Applies the record. What was suggested before the last edit of the space concerned studies that are no more."""
        last_edit = max((index for index, event in enumerate(events) if event["kind"] == "edit"), default=-1)
        for index, event in enumerate(events):
            self._apply(event)
            if index >= last_edit:
                self._replay_into_studies(event)
            if event["kind"] not in _SAYS_NOTHING_OF_DECISIONS:
                self._undecided = event["run"] if event["kind"] == "result" and not event["last"] else None

    def _replay_into_studies(self, event: Event) -> None:
        """Brings the study that an event concerns to where it was."""
        if event["kind"] == "suggestion":
            branch = self.proposals.branch(event["study"], event["space"])
            self.studies[event["study"]].replay(Suggestion(branch, event["drawn"]))
        elif event["kind"] == "told":
            self.studies[event["study"]].tell(event["number"], _told_again(event["told"]))
        elif event["kind"] == "edit":
            self._take_over_trials()
        elif event["kind"] == "warm_start":
            self._warm_up(event)

    def _take_over_trials(self) -> None:
        """After an edit: the studies begin with the trials that were kept, the populations with their curves."""
        self._populations = self._empty_populations()
        for study in self.state.studies.values():
            for identity in study.trials:
                trial = self.state.trials[identity]
                branch = self.proposals.branch(trial.study, trial.space)
                self.studies[study.name].replay(Suggestion(branch, trial.drawn))
                for run in self.state.runs_of(identity):
                    for progress in run.curve:
                        self._add_to_population(run, progress)
        for event in self.state.warm:
            self._warm_up(event)

    def _warm_up(self, event: Event) -> None:
        """Tells the studies what an earlier sweep found; these suggestions are trials of that sweep, not of this one."""
        if event["objectives"] != objectives_of(self.specification):
            return
        for trial in event["trials"]:
            home = home_of(self.specification, trial["architecture"], trial["configuration"])
            if home is not None:
                study = self._study_of(home[0].name)
                number = study.asked
                study.replay(Suggestion(self.proposals.branch(study.name, home[0].name), home[1]))
                study.tell(number, _told_again(trial["told"]))

    def _study_of(self, space: str) -> Study:
        return next(study for study in self.studies.values() if any(branch.space.name == space for branch in study.branches))

    def _settle(self) -> None:
        """Does what a crash, or an edit of the space, has left undone between two events that belong together."""
        if self._undecided is not None and self._is_stopped(self.state.runs[self._undecided]):
            self._end_run(self.state.runs[self._undecided], "stopped", None)
        for run in self.state.runs.values():
            if run.started and run.outcome is None and not self.state.trials[run.trial].kept:
                self._interrupt_run(run)
        for trial in list(self.state.trials.values()):
            if trial.kept:
                self._end_trial_if_due(trial)
        for name, study in self.studies.items():
            for number in study.running:
                trial = self.state.trials[self.state.study(name).answers[number]]
                if trial.outcome is not None:
                    self._tell(name, number, self._told(trial))


def _told_again(written: Mapping[str, Any]) -> Told:
    """From JSON, whose keys are text and whose tuples are lists."""
    values = written["values"]
    steps = {int(step): value for step, value in written["intermediate"].items()}
    return Told(written["state"], None if values is None else tuple(values), steps, dict(written["constraints"]))
