"""A record that is sound line by line, and does not belong to the search space that stands in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from search_space_text import specified
from simulation import Simulation, space

from orchestrator.record import JournalError
from orchestrator.sweep.consistency import consistent_state

SPACE = space("{trials: 3}")
Change = Callable[[dict[str, Any]], None]

WRONG: dict[str, Change] = {
    "an unknown study": lambda event: event.update(study="elsewhere"),
    "the study of another entry": lambda event: event.update(study="unified_kv"),
    "an unknown space": lambda event: event.update(space="elsewhere"),
    "an unknown dimension": lambda event: event["drawn"].update(width=3),
}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    simulation = Simulation(SPACE, tmp_path_factory.mktemp("sweep") / "s")
    simulation.run()
    return simulation.events()


def test_a_record_and_its_space_belong_together(events: list[dict[str, Any]]) -> None:
    assert len(consistent_state(specified(SPACE), events, Path("record.jsonl")).trials) == 6


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("repeats", [False, True])
def test_a_suggestion_that_none_can_make_is_refused(events: list[dict[str, Any]], what: str, repeats: bool) -> None:
    """Also one that was answered from the record and is no trial."""
    last = [event for event in events if event["kind"] == "suggestion" and event["study"] == "gpt"][-1]
    wrong = {**last, "drawn": dict(last["drawn"])}
    if repeats:
        wrong.update(number=last["number"] + 1, trial=None, answered_by=last["trial"], runs={})
    WRONG[what](wrong)
    changed = [*events, wrong] if repeats else [wrong if event is last else event for event in events]
    with pytest.raises(JournalError, match="restore the file from a copy"):
        consistent_state(specified(SPACE), changed, Path("record.jsonl"))
