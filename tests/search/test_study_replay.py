"""A study rebuilt from what it suggested and was told suggests what the lost one would have."""

from __future__ import annotations

from typing import Any

import pytest
from search_space_text import specified, study_space

from orchestrator.search.sampler import Branch
from orchestrator.search.study import Study, Told
from orchestrator.space.structures import find_feasible
from orchestrator.sweep.studies import make_studies

SPACE = """
task: {name: mqar}
model: {dim: 64, n_layers: {choice: [2, 4]}, n_heads: {choice: [1, 2, 4]}}
architectures: {gpt: {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}}
training: {lr: {float: [1e-4, 1e-2], log: true}}
constraints: {params: {scope: block, target: 98560, tolerance: 2%}}
objective: {metric: val/loss}
"""


def fresh(kind: str) -> Study:
    space = study_space(SPACE)
    return Study("gpt", kind, [Branch(space, find_feasible(space))], 3, "minimize")


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_replaying_any_prefix_gives_the_same_next_suggestion(kind: str) -> None:
    """Four are in flight at any time; they end out of order."""
    study, events = fresh(kind), []
    suggestions: list[dict[str, Any]] = []
    for number in range(26):
        suggestion = study.ask()
        assert suggestion is not None
        suggestions.append(dict(suggestion.drawn))
        events.append(("ask", number, suggestions[-1]))
        if len(study.running) > 4:
            ended = study.running[(number * 7) % 3]
            told = [Told("COMPLETE", ended / 7), Told("PRUNED", None, {1: 0.5, 2: ended / 9}), Told("FAIL")][ended % 3]
            study.tell(ended, told)
            events.append(("tell", ended, told))
    for length in range(0, len(events), 3):
        rebuilt = fresh(kind)
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
        study.tell(number, Told("COMPLETE", float(suggestion.branch.space.name == "gpt")))
    assert seen == {"gpt", "unified_kv"}


def test_telling_twice_is_an_error() -> None:
    study = fresh("random")
    study.ask()
    study.tell(0, Told("FAIL"))
    with pytest.raises(KeyError):
        study.tell(0, Told("COMPLETE", 1.0))
