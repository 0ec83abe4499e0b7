"""The example of an edited space in ``docs/search_spaces.md``: what changed, and which trials stay, is what is shown."""

from __future__ import annotations

import re

from documents import ROOT, Shown, blocks, shown_commands

from orchestrator.search.study import Study
from orchestrator.space.difference import describe_difference
from orchestrator.space.reading import read_search_space_text
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.edition import make_edition
from orchestrator.sweep.proposals import Proposals
from orchestrator.sweep.state import Event, SweepState
from orchestrator.sweep.studies import make_studies

PAGE = ROOT / "docs/search_spaces.md"


def _space(mark: str) -> SweepSpecification:
    block = next(block for block in blocks(PAGE) if mark in block.marks)
    return read_search_space_text(block.text, mark)


def _shown() -> list[str]:
    shown: Shown = next(shown for shown in shown_commands() if shown.block.document == PAGE and "--space" in shown.command)
    return [line.strip() for line in shown.output.splitlines()]


def _completed_trials(specification: SweepSpecification) -> list[Event]:
    """The record of a sweep whose first suggestions, which nothing was told of, have all completed."""
    state = SweepState([objective.metric for objective in specification.objectives])
    studies: dict[str, Study] = make_studies(specification)
    proposals = Proposals(specification, studies, state)
    events: list[Event] = []
    while proposals.wanted:
        for event in proposals.events():
            events.append(event)
            state.apply(event)
    for run in list(state.runs):
        metrics = {specification.objective.metric: 1.0}
        events.append({"kind": "result", "run": run, "progress": 1, "metrics": metrics, "last": True})
        events.append({"kind": "outcome", "run": run, "outcome": "completed", "error": None})
    events += [{"kind": "trial_end", "trial": trial, "outcome": "completed", "values": [1.0]} for trial in state.trials]
    return events


def test_what_changed_and_which_trials_stay_is_what_is_shown() -> None:
    before, after = _space("before-an-edit"), _space("after-an-edit")
    edition, state = make_edition(after, _completed_trials(before))
    assert _shown() == ["the space was edited:", *describe_difference(before, after), *edition.summary(state)]


def test_the_trials_still_to_run_are_those_of_the_text() -> None:
    after = _space("after-an-edit")
    edition, _ = make_edition(after, _completed_trials(_space("before-an-edit")))
    missing = [after.trials_per_study, (after.trials_per_study or 0) - len(edition.kept)]
    numbers = {"three": 3, "six": 6}
    found = re.search(r"It then ran (\w+) more trials of `gpt` and (\w+) of `unified_kv`", PAGE.read_text())
    assert found is not None and [numbers[found[2]], numbers[found[1]]] == missing
