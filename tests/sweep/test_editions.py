"""A sweep whose space is edited: trials that lie in the new space stay and are told to its sampler, the others stay recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_space_text import specified
from simulation import Killed, Simulation, assert_settled, optuna_trials, space, told_numbers

from orchestrator.record import Journal, read_journal
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.edition import Edition, make_edition
from orchestrator.sweep.warm_start import warm_start_event

BEFORE = space("{trials: 5}")
FEW = """
task: {{name: mqar}}
model: {{dim: 64, n_layers: 2, n_heads: 1}}
architectures: {{gpt: {{dk: {{choice: {dk}}}, dv: {{choice: [80, 84]}}}}}}
training: {{lr: 1e-3, epochs: 6}}
objective: {{metric: val/accuracy, mode: max}}
search: {{trials: 4, replicates: 3, sampler: random}}
"""
STRUCTURES = "dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}"


def edit(text: str, path: Path) -> Edition:
    """Writes the event that ``resume --space`` writes."""
    record = path / "record.jsonl"
    edition, _ = make_edition(specified(text), read_journal(record))
    with Journal(record) as journal:
        journal.append({"kind": "edit", "trials": None, "space": text, "kept": edition.kept, "version": "0"})
    return edition


def run_then_edit(tmp_path: Path, after: str, before: str = BEFORE, **simulated: Any) -> tuple[Edition, Simulation]:
    first = Simulation(before, tmp_path / "s", **simulated)
    first.run()
    first.journal.close()
    edition = edit(after, tmp_path / "s")
    return edition, Simulation(after, tmp_path / "s", **simulated)


def finished(edition: Edition, simulation: Simulation, trials: dict[str, int]) -> SweepController:
    """Runs to the end: so many kept and new trials in each study, each kept one run once, all told."""
    before = {event["run"] for event in simulation.events() if event["kind"] == "start"}
    controller = simulation.run()
    assert_settled(controller)
    assert {name: len(state.trials) for name, state in controller.state.studies.items()} == trials
    starts = [event["run"] for event in simulation.events() if event["kind"] == "start"]
    assert len(starts) == len(set(starts)), "a trial that was kept ran again"
    assert all(controller.state.trials[trial].kept == (trial in edition.kept) for trial in (*edition.kept, *edition.left_out))
    assert before <= set(starts)
    for name, trial_count in trials.items():
        told = [trial for trial in optuna_trials(controller, name) if trial.state.is_finished()]
        assert len(told) >= trial_count
    return controller


WIDER = {
    "a range": BEFORE.replace("du: {int: [8, 128], step: 4}", "du: {int: [4, 256], step: 2}"),
    "a choice": BEFORE.replace("n_heads: {choice: [1, 2, 4]}", "n_heads: {choice: [8, 1, 2, 4]}"),
    "a logarithmic range": BEFORE.replace("[1e-4, 1e-2]", "[1e-5, 1e-1]"),
    "the budget": BEFORE.replace("tolerance: 2%", "tolerance: 5%"),
    "an option of the search": BEFORE.replace("{trials: 5}", "{trials: 5, sampler: random}"),
}


@pytest.mark.parametrize("what", WIDER)
def test_widening_keeps_every_trial(tmp_path: Path, what: str) -> None:
    after = WIDER[what].replace("trials: 5", "trials: 7")
    edition, simulation = run_then_edit(tmp_path, after)
    assert len(edition.kept) == 10 and not edition.left_out
    controller = finished(edition, simulation, {"gpt": 7, "unified_kv": 7})
    values = {trial.value for trial in controller.state.trials.values()}
    for name in controller.studies:
        assert {trial.values[0] for trial in optuna_trials(controller, name)} <= values


def test_an_added_entry_gets_its_trials_and_the_others_run_nothing(tmp_path: Path) -> None:
    after = BEFORE.replace("  unified_kv:", f"  delta_net: {{{STRUCTURES}}}\n  unified_kv:")
    edition, simulation = run_then_edit(tmp_path, after)
    assert len(edition.kept) == 10
    finished(edition, simulation, {"gpt": 5, "delta_net": 5, "unified_kv": 5})


def test_narrowing_leaves_out_what_lies_outside_and_does_not_tell_it(tmp_path: Path) -> None:
    after = BEFORE.replace("n_layers: {choice: [2, 4]}", "n_layers: 2")
    edition, simulation = run_then_edit(tmp_path, after)
    assert edition.left_out and edition.kept
    assert all("n_layers" in reason for reason in edition.left_out.values())
    controller = finished(edition, simulation, {"gpt": 5, "unified_kv": 5})
    for name in controller.studies:
        assert len(optuna_trials(controller, name)) >= 5
        assert all("n_layers" not in trial.params for trial in optuna_trials(controller, name))
    assert all(controller.state.trials[trial].outcome == "completed" for trial in edition.left_out), "the record keeps them"


def test_another_budget_leaves_out_every_trial_outside_it(tmp_path: Path) -> None:
    edition, simulation = run_then_edit(tmp_path, BEFORE.replace("target: 98560", "target: 58496"))
    assert len(edition.left_out) == 10 and all("block" in reason for reason in edition.left_out.values())
    controller = finished(edition, simulation, {"gpt": 5, "unified_kv": 5})
    assert len(controller.state.trials) == 20 and len({trial.id for trial in controller.state.trials.values()}) == 20


def test_an_entry_that_is_gone_and_comes_back_has_its_trials_again(tmp_path: Path) -> None:
    without = BEFORE.replace("  unified_kv: {du: {int: [8, 128], step: 4}}\n", "")
    edition, simulation = run_then_edit(tmp_path, without)
    assert len(edition.left_out) == 5 and all("entry" in reason for reason in edition.left_out.values())
    finished(edition, simulation, {"gpt": 5})
    simulation.journal.close()
    again = edit(BEFORE, tmp_path / "s")
    assert len(again.kept) == 10
    finished(again, Simulation(BEFORE, tmp_path / "s"), {"gpt": 5, "unified_kv": 5})


def test_more_replicates_add_the_seeds_that_are_missing(tmp_path: Path) -> None:
    after = BEFORE.replace("{trials: 5}", "{trials: 5, replicates: 3}")
    edition, simulation = run_then_edit(tmp_path, after)
    controller = finished(edition, simulation, {"gpt": 5, "unified_kv": 5})
    for trial in controller.state.trials.values():
        assert [run.seed for run in controller.state.runs_of(trial.id)] == [0, 1, 2]


def test_a_trial_that_gets_more_seeds_has_no_value_until_they_have_ended(tmp_path: Path) -> None:
    after = BEFORE.replace("{trials: 5}", "{trials: 5, replicates: 2}")
    _, simulation = run_then_edit(tmp_path, after)
    assert {(trial.outcome, trial.value) for trial in simulation.controller.state.trials.values()} == {(None, None)}
    controller = simulation.run()
    for trial in controller.state.trials.values():
        values = [controller.value(run) for run in controller.state.runs_of(trial.id)]
        assert trial.value == pytest.approx(sum(value for value in values if value is not None) / 2)


def test_seeds_in_flight_and_a_twin_of_their_trial_survive_an_edit(tmp_path: Path) -> None:
    """Of a trial with three seeds one has ended, one runs and one waits; another suggestion waits for the same trial."""
    after = FEW.format(dk="[84, 88, 92]")
    before = FEW.format(dk="[88, 92]")
    first = Simulation(before, tmp_path / "s", concurrency=7)
    first.run(steps=45)
    state = first.controller.state
    assert any(trial.twins for trial in state.trials.values()) and first.controller.in_flight
    first.journal.close()
    edition = edit(after, tmp_path / "s")
    assert len(edition.kept) == len(state.trials)
    simulation = Simulation(after, tmp_path / "s", concurrency=7)
    controller = simulation.run()
    assert_settled(controller)
    behind = simulation.events()[next(i for i, e in enumerate(simulation.events()) if e["kind"] == "edit") :]
    assert len(told_numbers(behind)) == len(set(told_numbers(behind))) == len(optuna_trials(controller, "gpt"))
    assert [len(trial.runs) for trial in controller.state.trials.values()] == [3] * 4
    assert_settled(Simulation(after, tmp_path / "s").controller)


def test_a_warm_start_that_comes_with_an_edit_is_told_behind_the_kept_trials(tmp_path: Path) -> None:
    Simulation(space("{trials: 6, seed: 9}"), tmp_path / "source").run()
    _, simulation = run_then_edit(tmp_path, BEFORE.replace("trials: 5", "trials: 7"))
    after = BEFORE.replace("trials: 5", "trials: 7")
    simulation.journal.append(warm_start_event(specified(after), "source", tmp_path))
    warmed = Simulation(after, tmp_path / "s").run()
    assert_settled(warmed)
    for name in ("gpt", "unified_kv"):
        assert [trial.number for trial in map(warmed.state.trials.get, warmed.state.studies[name].trials) if trial][:5] == [
            0,
            1,
            2,
            3,
            4,
        ]
        assert len(optuna_trials(warmed, name)) >= 7 + 6
    again = Simulation(after, tmp_path / "s").controller
    assert again.is_over
    assert [[t.params for t in optuna_trials(again, name)] for name in again.studies] == [
        [t.params for t in optuna_trials(warmed, name)] for name in warmed.studies
    ]


def test_one_study_for_all_after_one_for_each(tmp_path: Path) -> None:
    after = BEFORE.replace("{trials: 5}", "{trials: 12, per: sweep}")
    edition, simulation = run_then_edit(tmp_path, after)
    finished(edition, simulation, {"sweep": 12})


def test_runs_in_flight_go_on_where_they_are_kept_and_are_interrupted_where_not(tmp_path: Path) -> None:
    first = Simulation(BEFORE, tmp_path / "s", concurrency=4)
    first.run(steps=6)
    in_flight = {run.id: run.trial for run in first.controller.in_flight}
    first.journal.close()
    after = BEFORE.replace("  unified_kv: {du: {int: [8, 128], step: 4}}\n", "")
    edition = edit(after, tmp_path / "s")
    simulation = Simulation(after, tmp_path / "s", concurrency=4)
    controller = simulation.run()
    for run, trial in in_flight.items():
        assert controller.state.runs[run].outcome == ("completed" if trial in edition.kept else "interrupted")
    assert {controller.state.trials[trial].entry for trial in in_flight.values()} == {"gpt", "unified_kv"}


def test_killed_after_each_event_behind_an_edit_the_sweep_comes_to_the_same_end(tmp_path: Path) -> None:
    after = BEFORE.replace("n_layers: {choice: [2, 4]}", "n_layers: {choice: [2, 8]}")
    _, whole = run_then_edit(tmp_path / "whole", after)
    start = len(whole.events())
    expected = _ending(whole.run())
    for events in range(1, len(whole.events()) - start, 7):
        path = tmp_path / str(events)
        _, first = run_then_edit(path, after)
        first.journal.close()
        with pytest.raises(Killed):
            Simulation(after, path / "s", events_left=events).run()
        controller = Simulation(after, path / "s").run()
        assert _ending(controller) == expected
        assert len(told_numbers(Simulation(after, path / "s").events())) == len(told_numbers(whole.events()))


def _ending(controller: SweepController) -> list[Any]:
    runs = controller.state.runs.values()
    return sorted((run.id, controller.state.trials[run.trial].fingerprint, run.outcome, controller.value(run)) for run in runs)


def test_a_finished_sweep_with_an_unchanged_space_runs_nothing(tmp_path: Path) -> None:
    edition, simulation = run_then_edit(tmp_path, BEFORE)
    count = len([event for event in simulation.events() if event["kind"] == "start"])
    finished(edition, simulation, {"gpt": 5, "unified_kv": 5})
    assert len([event for event in simulation.events() if event["kind"] == "start"]) == count
