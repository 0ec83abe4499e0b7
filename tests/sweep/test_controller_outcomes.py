"""What each outcome means to Optuna, to the count of trials and to the study's end (the outcome table of the interface)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from simulation import Script, Simulation, assert_settled, by_structure, optuna_trials, payload, scripted, space, told_numbers

from orchestrator.outcome import OUTCOMES, PRECEDENCE, trial_outcome

CURVE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
ONE_ENTRY = {"  unified_kv: {du: {int: [8, 128], step: 4}}\n": ""}


def one_entry(search: str, scheduler: str = "none", **more: str) -> str:
    return space(search, scheduler, **ONE_ENTRY, **more)


@pytest.mark.parametrize(
    ("outcome", "state", "constraint", "curve"),
    [
        ("completed", "COMPLETE", {}, {}),
        ("diverged", "PRUNED", {"diverged": 1.0}, {1: 0.1, 2: 0.2}),
        ("oom", "PRUNED", {"oom": 1.0}, {1: 0.1, 2: 0.2}),
        ("failed", "FAIL", {}, {}),
    ],
)
def test_what_optuna_is_told_of_what_a_worker_says(
    tmp_path: Path, outcome: str, state: str, constraint: dict[str, float], curve: dict[int, float]
) -> None:
    script = Script(CURVE) if outcome == "completed" else Script(CURVE, ends_at=3, outcome=outcome)
    simulation = Simulation(one_entry("{trials: 1}"), tmp_path / "s", scripted([script]))
    controller = simulation.run()
    (trial,) = optuna_trials(controller, "gpt")
    assert (trial.state.name, trial.constraints, trial.intermediate_values) == (state, constraint, curve)
    assert trial.value == {"COMPLETE": 0.6, "PRUNED": 0.2}.get(state)
    assert controller.state.trials["gpt-0000"].outcome == outcome
    assert controller.state.trials["gpt-0000"].value == (0.6 if outcome == "completed" else None)
    assert_settled(controller)


def test_what_optuna_is_told_of_a_run_that_the_rule_stops(tmp_path: Path) -> None:
    scripts = scripted([Script([0.5] * 6), Script([0.1] * 6), Script([0.9] * 6)])
    simulation = Simulation(
        one_entry("{trials: 3}", "{name: asha, grace_period: 2, reduction_factor: 3}"), tmp_path / "s", scripts
    )
    controller = simulation.run()
    first, stopped, best = optuna_trials(controller, "gpt")
    assert [trial.state.name for trial in (first, stopped, best)] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert stopped.intermediate_values == {1: 0.1, 2: 0.1} and stopped.constraints == {}
    assert [trial.outcome for trial in controller.state.trials.values()] == ["completed", "stopped", "completed"]
    assert_settled(controller)


def test_an_interrupted_run_is_told_nothing_and_is_no_end(tmp_path: Path) -> None:
    simulation = Simulation(one_entry("{trials: 2}"), tmp_path / "s")
    controller = simulation.run(steps=3)
    controller.interrupt()
    (trial,) = optuna_trials(controller, "gpt")
    assert trial.state.name == "RUNNING" and not told_numbers(simulation.events())
    assert [run.outcome for run in controller.state.runs.values()] == ["interrupted"] and controller.in_flight
    assert controller.state.trials["gpt-0000"].outcome is None
    resumed = Simulation(one_entry("{trials: 2}"), tmp_path / "s").run()
    assert_settled(resumed)
    assert [run.outcome for run in resumed.state.runs.values()] == ["completed"] * 2


def test_a_run_whose_process_is_lost_has_failed(tmp_path: Path) -> None:
    simulation = Simulation(one_entry("{trials: 1}"), tmp_path / "s")
    controller = simulation.run(steps=2)
    (run,) = controller.in_flight
    controller.on_lost(run.id, "killed")
    controller.on_lost(run.id, "told twice")
    assert optuna_trials(controller, "gpt")[0].state.name == "FAIL" and len(told_numbers(simulation.events())) == 1
    assert controller.next_run() is None
    assert_settled(controller)
    assert not controller.on_result(run.id, payload(run.id, 5, {"val/accuracy": 1.0})), "a late word changes nothing"
    assert run.progress == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("epoch", [1, 4])
def test_an_objective_that_is_no_number_is_divergence_whatever_the_worker_says(tmp_path: Path, value: float, epoch: int) -> None:
    curve = [value if at == epoch else 0.1 for at in range(1, 7)]
    controller = Simulation(one_entry("{trials: 1}"), tmp_path / "s", scripted([Script(curve)])).run()
    (trial,) = optuna_trials(controller, "gpt")
    assert trial.state.name == "PRUNED" and trial.constraints == {"diverged": 1.0} and len(trial.intermediate_values) == epoch - 1
    assert_settled(controller)


def test_another_metric_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    script = Script(CURVE, extra={"time/train_s": math.nan, "val/loss": 2.0}, once={"params/total": math.inf})
    controller = Simulation(one_entry("{trials: 1}"), tmp_path / "s", scripted([script])).run()
    (run,) = controller.state.runs.values()
    assert run.outcome == "completed" and run.metrics == {"val/accuracy": 0.6, "val/loss": 2.0}


def test_every_mixture_of_outcomes_leaves_no_suggestion_open(tmp_path: Path) -> None:
    mixture = [
        Script(CURVE),
        Script(CURVE, 1, "failed"),
        Script(CURVE, 2, "diverged"),
        Script(CURVE, 6, "oom"),
        Script(CURVE[:1]),
        Script([0.01] * 6),
    ]
    text = space("{trials: 6}", "{name: asha, grace_period: 2, reduction_factor: 3}")
    for concurrency in (1, 3, 8):
        simulation = Simulation(text, tmp_path / str(concurrency), scripted(mixture * 2), concurrency)
        controller = simulation.run()
        assert_settled(controller)
        numbers = told_numbers(simulation.events())
        assert len(numbers) == len(set(numbers)) == sum(study.asked for study in controller.studies.values())
        assert {name: len(state.trials) for name, state in controller.state.studies.items()} == {"gpt": 6, "unified_kv": 6}
        for trial in controller.state.trials.values():
            (told,) = [t for t in optuna_trials(controller, trial.study) if t.number == trial.number]
            assert told.state.name == OUTCOMES[trial.outcome or ""].sampler_state


def test_entries_take_turns(tmp_path: Path) -> None:
    simulation = Simulation(space("{trials: 5}"), tmp_path / "s")
    simulation.run()
    order = [event["entry"] for event in simulation.events() if event["kind"] == "suggestion" and event["trial"]]
    assert order == ["gpt", "unified_kv"] * 5


@pytest.mark.parametrize(
    ("outcomes", "expected", "value"),
    [
        (("completed", "completed", "completed"), "completed", 0.6),
        (("completed", "failed", "completed"), "completed", 0.65),
        (("diverged", "failed", "oom"), "diverged", None),
        (("failed", "failed", "failed"), "failed", None),
    ],
)
def test_replicates_are_told_once_with_the_mean_of_those_that_completed(
    tmp_path: Path, outcomes: tuple[str, ...], expected: str, value: float | None
) -> None:
    finals = [0.5, 0.5, 0.8]
    scripts = [Script([0.1, final], None if o == "completed" else 2, o) for final, o in zip(finals, outcomes, strict=True)]
    simulation = Simulation(one_entry("{trials: 1, replicates: 3, seed: 5}"), tmp_path / "s", scripted(scripts), concurrency=2)
    controller = simulation.run()
    (trial,) = controller.state.trials.values()
    assert [controller.state.runs[run].seed for run in trial.runs] == [5, 6, 7]
    assert trial.outcome == expected == trial_outcome(list(outcomes)) and trial.value == pytest.approx(value)
    assert told_numbers(simulation.events()) == [("gpt", 0)]
    assert optuna_trials(controller, "gpt")[0].state.name == OUTCOMES[expected].sampler_state
    assert_settled(controller)


def test_the_precedence_of_outcomes_has_every_outcome_that_ends_a_run() -> None:
    assert set(PRECEDENCE) == {name for name, outcome in OUTCOMES.items() if outcome.counts}
    assert OUTCOMES["interrupted"].sampler_state is None


@pytest.mark.parametrize(
    ("at", "mode", "expected"), [("last", "max", 0.3), ("best", "max", 0.9), ("best", "min", 0.1), ("last", "min", 0.3)]
)
def test_the_value_is_the_last_or_the_best(tmp_path: Path, at: str, mode: str, expected: float) -> None:
    text = one_entry("{trials: 1}", **{"mode: max": f"mode: {mode}, at: {at}"})
    controller = Simulation(text, tmp_path / "s", scripted([Script([0.5, 0.1, 0.9, 0.3])])).run()
    assert optuna_trials(controller, "gpt")[0].value == expected


def test_a_metric_known_once_can_be_the_objective(tmp_path: Path) -> None:
    text = one_entry("{trials: 1}", **{"metric: val/accuracy, mode: max": "metric: params/total"})
    controller = Simulation(text, tmp_path / "s", scripted([Script(CURVE, once={"params/total": 4321.0})])).run()
    assert optuna_trials(controller, "gpt")[0].value == 4321.0


def test_a_completed_run_without_the_objective_has_failed(tmp_path: Path) -> None:
    text = one_entry("{trials: 1}", **{"metric: val/accuracy, mode: max": "metric: time/train_s"})
    controller = Simulation(text, tmp_path / "s", scripted([Script(CURVE)])).run()
    assert optuna_trials(controller, "gpt")[0].state.name == "FAIL"
    assert_settled(controller)


def test_measured_constraints_are_told_by_how_much_they_are_missed(tmp_path: Path) -> None:
    measured = "measured: [{metric: memory/peak_host_mib, max: 300}, {metric: throughput/tokens_per_s, min: 50}], params:"
    scripts = [
        Script(CURVE, extra={"memory/peak_host_mib": 280.0, "throughput/tokens_per_s": 60.0}),
        Script(CURVE, extra={"memory/peak_host_mib": 350.0, "throughput/tokens_per_s": 45.0}),
        Script(CURVE, 3, "diverged", extra={"memory/peak_host_mib": 310.0}),
        Script(CURVE),
    ]
    controller = Simulation(one_entry("{trials: 4}", **{"params:": measured}), tmp_path / "s", scripted(scripts)).run()
    told = [trial.constraints for trial in optuna_trials(controller, "gpt")]
    memory, speed = "memory/peak_host_mib <= 300", "throughput/tokens_per_s >= 50"
    assert told == [{memory: -20.0, speed: -10.0}, {memory: 50.0, speed: 5.0}, {"diverged": 1.0, memory: 10.0}, {}]


def test_one_study_over_all_entries(tmp_path: Path) -> None:
    simulation = Simulation(space("{trials: 12, per: sweep}"), tmp_path / "s", concurrency=3)
    controller = simulation.run()
    assert list(controller.studies) == ["sweep"] and len(controller.state.trials) == 12
    assert {trial.entry for trial in controller.state.trials.values()} == {"gpt", "unified_kv"}
    names: dict[str, Any] = {trial.number: trial.params["entry"] for trial in optuna_trials(controller, "sweep")}
    assert all(names[trial.number] == trial.entry for trial in controller.state.trials.values())
    assert_settled(controller)


def test_each_cell_of_a_grid_has_its_trials(tmp_path: Path) -> None:
    text = space("{trials: 3}", **{"{name: mqar}": "{name: mqar, vocab_size: {grid: [256, 512]}}"})
    controller = Simulation(text, tmp_path / "s", by_structure, concurrency=2).run()
    assert {name: len(state.trials) for name, state in controller.state.studies.items()} == {
        "gpt.vocab_size-256": 3,
        "gpt.vocab_size-512": 3,
        "unified_kv.vocab_size-256": 3,
        "unified_kv.vocab_size-512": 3,
    }
    for trial in controller.state.trials.values():
        assert trial.space.endswith(str(trial.configuration["task"]["vocab_size"]))
    assert controller.planned_runs == 12
    assert_settled(controller)
