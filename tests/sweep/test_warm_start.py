"""Trials of an earlier sweep that lie in the space are told to the sampler first, and are no trials of the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_space_text import specified
from simulation import Killed, Script, Simulation, assert_settled, by_structure, optuna_trials, space

from orchestrator.record import Journal
from orchestrator.sweep.warm_start import warm_start_event

SOURCE = space("{trials: 12}")


def source(tmp_path: Path, text: str = SOURCE, **simulated: Any) -> Simulation:
    simulation = Simulation(text, tmp_path / "source", **simulated)
    simulation.run()
    return simulation


def warmed(text: str, tmp_path: Path, **simulated: Any) -> Simulation:
    """A sweep whose record begins with what ``source`` has to tell."""
    Simulation(text, tmp_path / "warmed").journal.close()
    with Journal(tmp_path / "warmed" / "record.jsonl") as journal:
        journal.append(warm_start_event(specified(text), "source", tmp_path))
    return Simulation(text, tmp_path / "warmed", **simulated)


def test_every_trial_is_told_with_its_value_and_none_is_run_again(tmp_path: Path) -> None:
    earlier = source(tmp_path).controller
    simulation = warmed(space("{trials: 3}"), tmp_path)
    for name in ("gpt", "unified_kv"):
        told = {(tuple(t.params.items()), t.state.name, t.values[0]) for t in optuna_trials(simulation.controller, name)}
        known = {(tuple(t.params.items()), t.state.name, t.values[0]) for t in optuna_trials(earlier, name)}
        assert told == known
    controller = simulation.run()
    assert_settled(controller)
    assert {name: len(state.trials) for name, state in controller.state.studies.items()} == {"gpt": 3, "unified_kv": 3}
    assert len(optuna_trials(controller, "gpt")) >= 15


def test_the_first_suggestion_follows_from_what_was_told(tmp_path: Path) -> None:
    """Twelve told trials are more than TPE's random start: what it asks next is not what it would have asked without them."""
    source(tmp_path)
    cold = Simulation(space("{trials: 1}"), tmp_path / "cold").run().state.trials["gpt-0000"]
    warm = warmed(space("{trials: 1}"), tmp_path).run().state.trials["gpt-0000"]
    assert warm.drawn != cold.drawn


def test_what_lies_outside_or_means_something_else_tells_nothing(tmp_path: Path) -> None:
    source(tmp_path)
    narrower = space("{trials: 1}").replace("n_layers: {choice: [2, 4]}", "n_layers: 4")
    event = warm_start_event(specified(narrower), "source", tmp_path)
    assert 0 < len(event["trials"]) < 24 and event["outside"] == 24 - len(event["trials"])
    longer = space("{trials: 1}").replace("epochs: 6", "epochs: 12")
    assert warm_start_event(specified(longer), "source", tmp_path)["trials"] == []
    unmeasured = space("{trials: 1}").replace("metric: val/accuracy, mode: max", "metric: val/loss, mode: min")
    assert warm_start_event(specified(unmeasured), "source", tmp_path)["outside"] == 24


def test_an_entry_of_another_name_and_the_same_architecture_is_told(tmp_path: Path) -> None:
    source(tmp_path)
    renamed = space("{trials: 1}").replace("  gpt: {", "  baseline: {architecture: gpt, ")
    simulation = warmed(renamed, tmp_path)
    assert len(optuna_trials(simulation.controller, "baseline")) == len(optuna_trials(simulation.controller, "unified_kv")) == 12


def test_a_diverged_trial_is_told_with_its_constraint(tmp_path: Path) -> None:
    def some_diverge(request: Any) -> Script:
        script = by_structure(request)
        return Script(script.curve, ends_at=2, outcome="diverged") if request.model["n_layers"] == 2 else script

    source(tmp_path, scripts=some_diverge)
    simulation = warmed(space("{trials: 1}"), tmp_path)
    states = {(trial.state.name, tuple(trial.constraints)) for trial in optuna_trials(simulation.controller, "gpt")}
    assert states == {("COMPLETE", ()), ("PRUNED", ("diverged",))}


@pytest.mark.parametrize("events", [1, 5, 9, 20])
def test_killed_and_rebuilt_it_comes_to_the_same_end(tmp_path: Path, events: int) -> None:
    source(tmp_path)
    expected = sorted(t.fingerprint for t in warmed(space("{trials: 3}"), tmp_path).run().state.trials.values())
    (tmp_path / "warmed").rename(tmp_path / "whole")
    with pytest.raises(Killed):
        warmed(space("{trials: 3}"), tmp_path, events_left=events).run()
    again = Simulation(space("{trials: 3}"), tmp_path / "warmed").run()
    assert sorted(t.fingerprint for t in again.state.trials.values()) == expected
