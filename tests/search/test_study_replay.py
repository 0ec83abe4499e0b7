"""A study rebuilt from what it suggested and was told suggests what the lost one would have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_space_text import specified, study_space

from orchestrator.search.sampler import Branch
from orchestrator.search.study import Direction, Study, Told
from orchestrator.space.structures import find_feasible
from orchestrator.sweep.studies import make_studies
from orchestrator.sweep.study_view import StudyView

SPACE = """
task: {name: mqar}
model: {dim: 64, n_layers: {choice: [2, 4]}, n_heads: {choice: [1, 2, 4]}}
architectures: {gpt: {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}}
training: {lr: {float: [1e-4, 1e-2], log: true}}
constraints: {params: {scope: block, target: 98560, tolerance: 2%}}
objective: {metric: val/loss}
"""


def fresh(kind: str, directions: Sequence[Direction] = ("minimize",)) -> Study:
    space = study_space(SPACE)
    return Study("gpt", kind, [Branch(space, find_feasible(space))], 3, directions)


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]], ids=["one objective", "two objectives"])
@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_replaying_any_prefix_gives_the_same_next_suggestion(kind: str, directions: list[Direction]) -> None:
    """Four are in flight at any time; they end out of order."""
    study, events = fresh(kind, directions), []
    suggestions: list[dict[str, Any]] = []
    for number in range(26):
        suggestion = study.ask()
        assert suggestion is not None
        suggestions.append(dict(suggestion.drawn))
        events.append(("ask", number, suggestions[-1]))
        if len(study.running) > 4:
            ended = study.running[(number * 7) % 3]
            told = [
                Told("COMPLETE", (ended / 7, 5.0 - ended)[: len(directions)]),
                Told("PRUNED", None, {1: 0.5, 2: ended / 9}),
                Told("FAIL"),
            ][ended % 3]
            study.tell(ended, told)
            events.append(("tell", ended, told))
    for length in range(0, len(events), 3):
        rebuilt = fresh(kind, directions)
        for event, number, content in events[:length]:
            if event == "ask":
                (branch,) = rebuilt.branches
                rebuilt.replay(type(suggestion)(branch, content))
            else:
                rebuilt.tell(number, content)
        following = next((content for event, _, content in events[length:] if event == "ask"), None)
        asked_next = length < len(events) and events[length][0] == "ask"
        if following is not None and asked_next:
            suggested = rebuilt.ask()
            assert suggested is not None and dict(suggested.drawn) == following


def test_a_study_over_all_entries_suggests_feasible_configurations_of_each() -> None:
    specification = specified(
        "task: {name: mqar}\nmodel: {dim: 64, n_layers: {choice: [2, 4]}, n_heads: {choice: [1, 2, 4]}}\n"
        "architectures:\n  gpt: {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}\n"
        "  unified_kv: {du: {int: [8, 128], step: 4}}\n"
        "constraints: {params: {scope: block, target: 98560, tolerance: 2%}}\n"
        "search: {per: sweep, seed: 1}\n"
    )
    (study,) = make_studies(specification).values()
    seen = set()
    for number in range(30):
        suggestion = study.ask()
        assert suggestion is not None and suggestion.branch.space.is_feasible(suggestion.drawn)
        seen.add(suggestion.branch.space.name)
        assert suggestion.labels(study.branches)["entry"] == suggestion.branch.space.name
        study.tell(number, Told("COMPLETE", (float(suggestion.branch.space.name == "gpt"),)))
    assert seen == {"gpt", "unified_kv"}


def test_telling_twice_is_an_error() -> None:
    study = fresh("random")
    study.ask()
    study.tell(0, Told("FAIL"))
    with pytest.raises(KeyError):
        study.tell(0, Told("COMPLETE", (1.0,)))


def test_with_several_objectives_a_pruned_trial_has_no_curve_and_no_value() -> None:
    """Optuna refuses intermediate values there; the sampler learns that the trial was pruned, and no more."""
    study = fresh("tpe", ["minimize", "maximize"])
    study.ask()
    study.tell(0, Told("PRUNED", None, {1: 0.5, 2: 0.4}, {"diverged": 1.0}))
    (trial,) = study.optuna_study.trials
    assert (trial.state.name, trial.values, trial.intermediate_values) == ("PRUNED", None, {})
    assert trial.constraints == {"diverged": 1.0}


def test_the_search_goes_on_when_nothing_but_diverged_and_pruned_trials_were_told() -> None:
    """Then the better half that TPE models holds trials without values, of a study with several objectives."""
    study = fresh("tpe", ["minimize", "maximize"])
    for number in range(30):
        suggestion = study.ask()
        assert suggestion is not None and suggestion.branch.space.is_feasible(suggestion.drawn)
        study.tell(number, Told("PRUNED", None, {}, {"diverged": 1.0} if number % 2 else {}))


def test_the_directions_of_a_study_are_those_of_the_objectives() -> None:
    specification = specified(SPACE.replace("{metric: val/loss}", "[{metric: val/accuracy}, {metric: params/total}, {}]"))
    (study,) = make_studies(specification).values()
    assert [objective.metric for objective in specification.objectives] == ["val/accuracy", "params/total", "val/loss"]
    assert [direction.name for direction in study.optuna_study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]


def test_the_view_of_a_study_has_its_directions_and_values(tmp_path: Path) -> None:
    study = fresh("random", ["minimize", "maximize"])
    for told in (Told("COMPLETE", (0.5, 2.0)), Told("PRUNED", None, {1: 0.5})):
        study.ask()
        study.tell(study.asked - 1, told)
    view = StudyView(tmp_path / "study.db", {"gpt": study})
    view.start()
    view.close()
    written = optuna.load_study(study_name="gpt", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert written.directions == study.optuna_study.directions
    assert [trial.values for trial in written.trials] == [[0.5, 2.0], None]
