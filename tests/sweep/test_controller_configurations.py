"""Finite studies: what was seen before costs no trial, and a study that has nothing new left ends and says so."""

from __future__ import annotations

from pathlib import Path

from simulation import Script, Simulation, assert_settled, optuna_trials, scripted, space, told_numbers

FIVE = space(
    "{search}",
    **{"{float: [1e-4, 1e-2], log: true}": "1e-3", "  gpt: {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}\n": ""},
)
"""unified_kv has five feasible structures, and nothing else is searched."""


def finite(search: str) -> str:
    return FIVE.replace("{search}", search)


def fingerprints(simulation: Simulation) -> list[str]:
    return [trial.fingerprint for trial in simulation.controller.state.trials.values()]


def test_a_study_that_runs_out_of_configurations_ends_and_says_so(tmp_path: Path) -> None:
    for sampler in ("tpe", "random", "grid"):
        simulation = Simulation(finite(f"{{trials: 9, sampler: {sampler}}}"), tmp_path / sampler, concurrency=2)
        controller = simulation.run()
        assert len(set(fingerprints(simulation))) == len(fingerprints(simulation)) == 5
        assert controller.state.study("unified_kv").exhausted
        assert [event["study"] for event in simulation.events() if event["kind"] == "exhausted"] == ["unified_kv"]
        assert_settled(controller)


def test_what_was_suggested_before_is_answered_from_the_record(tmp_path: Path) -> None:
    simulation = Simulation(finite("{trials: 5, sampler: random}"), tmp_path / "s", concurrency=3)
    controller = simulation.run()
    events = simulation.events()
    repeated = [event for event in events if event["kind"] == "suggestion" and event["answered_by"]]
    assert repeated and len(controller.state.trials) == len(controller.state.runs) == 5
    numbers = told_numbers(events)
    assert len(numbers) == len(set(numbers)) == controller.studies["unified_kv"].asked == 5 + len(repeated)
    told = {event["number"]: event["told"] for event in events if event["kind"] == "told"}
    for event in repeated:
        original = controller.state.trials[event["answered_by"]]
        assert told[event["number"]] == told[original.number]
        assert optuna_trials(controller, "unified_kv")[event["number"]].value == original.value
    assert_settled(controller)


def test_a_twin_waits_for_the_trial_in_flight_that_it_repeats(tmp_path: Path) -> None:
    simulation = Simulation(finite("{trials: 5, sampler: random}"), tmp_path / "s", concurrency=5)
    simulation._fill()
    state = simulation.controller.state
    twins = {number: trial.id for trial in state.trials.values() for number in trial.twins}
    assert twins and not told_numbers(simulation.events())
    controller = simulation.run()
    order = told_numbers(simulation.events())
    for number, trial in twins.items():
        assert order.index(("unified_kv", number)) > order.index(("unified_kv", controller.state.trials[trial].number))
    assert_settled(controller)


def test_the_grid_sampler_lists_all_in_a_fixed_order(tmp_path: Path) -> None:
    first = Simulation(finite("{sampler: grid}"), tmp_path / "a", concurrency=1)
    assert first.controller.planned_runs == 5
    first.run()
    second = Simulation(finite("{sampler: grid, seed: 9}"), tmp_path / "b", concurrency=4)
    second.run()
    assert fingerprints(first) == fingerprints(second) and len(set(fingerprints(first))) == 5


def test_the_grid_sampler_stops_after_as_many_trials_as_are_wanted(tmp_path: Path) -> None:
    simulation = Simulation(finite("{sampler: grid, trials: 3}"), tmp_path / "s")
    assert len(fingerprints(simulation)) == 0
    simulation.run()
    assert len(fingerprints(simulation)) == 3 and not simulation.controller.state.study("unified_kv").exhausted


def test_failed_configurations_are_not_run_again(tmp_path: Path) -> None:
    scripts = scripted([Script([0.1], 1, "failed")] * 5)
    simulation = Simulation(finite("{trials: 9}"), tmp_path / "s", scripts)
    controller = simulation.run()
    assert len(controller.state.runs) == 5 and {run.outcome for run in controller.state.runs.values()} == {"failed"}
    assert_settled(controller)


def test_fields_without_effect_on_the_configuration_make_no_second_trial(tmp_path: Path) -> None:
    """Two ways to write one configuration: a guard that is off gives the default, which a choice has too."""
    text = finite("{trials: 30, sampler: random}").replace(
        "unified_kv: {", "unified_kv: {use_ffn: {choice: [false]}, ffn_expand_factor: {choice: [2, 4], when: 'use_ffn'}, "
    )
    simulation = Simulation(text, tmp_path / "s")
    simulation.run()
    assert len(fingerprints(simulation)) == 5


def test_a_smaller_total_than_was_run_starts_nothing_and_plans_what_is_there(tmp_path: Path) -> None:
    first = Simulation(space("{trials: 4}"), tmp_path / "s")
    first.run()
    controller = Simulation(space("{trials: 2}"), tmp_path / "s").controller
    assert controller.next_run() is None and controller.is_over
    assert controller.planned_runs == len(controller.state.runs) == 8
