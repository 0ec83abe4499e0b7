"""The driver may die after any event: what it left behind is finished, and the sweep comes to the same end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from simulation import Killed, Simulation, assert_settled, payload, space, told_numbers

from orchestrator.record import checked_events
from orchestrator.sweep.controller import SweepController

ASHA = "{name: asha, grace_period: 1, reduction_factor: 2}"
FINITE = {"{float: [1e-4, 1e-2], log: true}": "1e-3", "  gpt: {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}\n": ""}
SWEEPS = {
    "tpe with a stopping rule": space("{trials: 12}", ASHA),
    "replicates": space("{trials: 3, replicates: 2, sampler: random}", "{name: median, min_samples: 1}"),
    "twins and an end": space("{trials: 9}", **FINITE),
    "one study for all": space("{trials: 6, per: sweep}"),
}


def ending(controller: SweepController) -> list[Any]:
    return sorted(
        (run.id, controller.state.trials[run.trial].fingerprint, run.seed, run.outcome, controller.value(run))
        for run in controller.state.runs.values()
    )


def assert_the_same_end(path: Path, text: str, points: int | None) -> None:
    """Killed after some (None: after each) of the events of the whole sweep behind its first, restarted, and compared."""
    whole = Simulation(text, path / "whole")
    expected, told, total = ending(whole.run()), sorted(told_numbers(whole.events())), len(whole.events()) - 1
    for events in range(1, total, max(1, total // points) if points else 1):
        killed = path / "killed"
        with pytest.raises(Killed):
            Simulation(text, killed, events_left=events).run()
        resumed = Simulation(text, killed)
        controller = resumed.run()
        assert ending(controller) == expected, events
        assert sorted(told_numbers(resumed.events())) == told
        assert_settled(controller)
        shutil.rmtree(killed)


@pytest.mark.parametrize("name", SWEEPS)
def test_killed_after_an_event_the_sweep_comes_to_the_same_end(tmp_path: Path, name: str) -> None:
    assert_the_same_end(tmp_path, SWEEPS[name], points=18)


@pytest.mark.long
@pytest.mark.parametrize("name", SWEEPS)
def test_killed_after_each_event_the_sweep_comes_to_the_same_end(tmp_path: Path, name: str) -> None:
    assert_the_same_end(tmp_path, SWEEPS[name], points=None)


def test_killed_after_each_event_of_a_sweep_it_comes_to_the_same_end(tmp_path: Path) -> None:
    text = space("{trials: 4}", ASHA)
    assert_the_same_end(tmp_path, text, points=None)
    assert len(Simulation(text, tmp_path / "whole").events()) >= 60


def test_a_record_cut_at_any_byte_of_its_last_two_lines_comes_to_the_same_end(tmp_path: Path) -> None:
    """Wherever it is cut, one of three prefixes is left; from each the sweep comes to the same end."""
    text = SWEEPS["twins and an end"]
    whole = Simulation(text, tmp_path / "whole")
    expected, events = ending(whole.run()), whole.events()
    lines = whole.folder.record.read_bytes().splitlines(keepends=True)
    for count in (len(lines) // 3, len(lines) // 2, len(lines)):
        kept, content = len(b"".join(lines[: count - 2])), b"".join(lines[:count])
        prefixes = set()
        for size in range(kept, len(content) + 1):
            cut = tmp_path / "cut.jsonl"
            cut.write_bytes(content[:size])
            found = checked_events(cut)
            assert found == events[: len(found)]
            prefixes.add(len(found))
        assert prefixes == {count - 2, count - 1, count}
        for number in prefixes:
            folder = tmp_path / f"{count}-{number}"
            folder.mkdir()
            torn = content[: len(b"".join(lines[:number])) + (7 if number < count else 0)]
            (folder / "record.jsonl").write_bytes(torn)
            assert ending(Simulation(text, folder).run()) == expected


def test_killed_again_and_again_with_many_in_flight_nothing_is_told_twice(tmp_path: Path) -> None:
    text, path = SWEEPS["tpe with a stopping rule"], tmp_path / "s"
    for _ in range(60):
        try:
            controller = Simulation(text, path, concurrency=4, events_left=13).run()
            break
        except Killed:
            continue
    assert_settled(controller)
    numbers = told_numbers(Simulation(text, path).events())
    assert len(numbers) == len(set(numbers))
    assert {name: len(state.trials) for name, state in controller.state.studies.items()} == {"gpt": 12, "unified_kv": 12}


@pytest.mark.parametrize("name", SWEEPS)
def test_rebuilt_at_any_prefix_the_next_suggestion_is_the_same(tmp_path: Path, name: str) -> None:
    """Also with several in flight: whatever comes next in the record is what a rebuilt controller would have asked for."""
    text = SWEEPS[name]
    whole = Simulation(text, tmp_path / "whole", concurrency=3)
    whole.run()
    lines = whole.folder.record.read_bytes().splitlines(keepends=True)
    events = whole.events()
    asked = [i for i, event in enumerate(events) if event["kind"] == "suggestion"]
    for index in asked[:: max(1, len(asked) // 12)]:
        folder = tmp_path / f"at-{index}"
        folder.mkdir()
        (folder / "record.jsonl").write_bytes(b"".join(lines[:index]))
        rebuilt = Simulation(text, folder).controller
        study = events[index]["study"]
        if rebuilt.state.study(study).repeated:
            continue
        suggestion = rebuilt.studies[study].ask()
        assert suggestion is not None
        assert (suggestion.branch.space.name, dict(suggestion.drawn)) == (events[index]["space"], events[index]["drawn"])


def test_steps_reported_again_are_dropped_and_not_decided_on_again(tmp_path: Path) -> None:
    simulation = Simulation(space("{trials: 3}", ASHA), tmp_path / "s", concurrency=3)
    simulation.run(steps=3)
    controller, count = simulation.controller, len(simulation.events())
    run = controller.in_flight[0]
    assert controller.on_result(run.id, payload(run.id, run.progress, {"val/accuracy": -1.0}))
    assert len(simulation.events()) == count and -1.0 not in run.curve.values()


def test_what_is_rebuilt_equals_what_was(tmp_path: Path) -> None:
    simulation = Simulation(SWEEPS["twins and an end"], tmp_path / "s", concurrency=3)
    controller = simulation.run()
    rebuilt = Simulation(SWEEPS["twins and an end"], tmp_path / "s").controller
    assert rebuilt.state.__dict__ == controller.state.__dict__
    for name, study in controller.studies.items():
        ours, again = study.optuna_study.trials, rebuilt.studies[name].optuna_study.trials
        assert [(t.params, t.state, t.values, t.intermediate_values, t.constraints) for t in ours] == [
            (t.params, t.state, t.values, t.intermediate_values, t.constraints) for t in again
        ]
