"""The copy of the search space in a sweep's folder: restored where a crash left none or an earlier one, refused where edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulation import space

from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.recorded_space import SpaceChangedByHand, recorded_specification, restore_copy, write_space

SPACE, WIDER = space("{trials: 5}"), space("{trials: 7}")


def events_of(*editions: str) -> list[dict[str, Any]]:
    first, *later = editions
    return [{"kind": "sweep", "name": "s", "space": first}, *({"kind": "edit", "space": text, "trials": None} for text in later)]


@pytest.mark.parametrize("text", [SPACE, SPACE.replace("\n", "\r\n"), SPACE + "# größer\n"])
def test_the_space_as_it_was_written_is_not_taken_for_an_edited_one(tmp_path: Path, text: str) -> None:
    folder = SweepFolder(tmp_path)
    write_space(folder, text)
    restore_copy(folder, events_of(text))
    assert folder.space.read_bytes() == text.encode()
    assert recorded_specification(folder, events_of(text)).trials_per_study == 5


@pytest.mark.parametrize("left", [None, SPACE])
def test_what_a_crash_left_becomes_the_last_edition(tmp_path: Path, left: str | None) -> None:
    folder = SweepFolder(tmp_path)
    if left is not None:
        write_space(folder, left)
    restore_copy(folder, events_of(SPACE, WIDER))
    assert folder.space.read_bytes() == WIDER.encode()


@pytest.mark.parametrize("content", [b"", SPACE.encode() + b"# mine\n", b"\xff\xfe"])
def test_a_copy_that_no_edition_is_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    folder = SweepFolder(tmp_path)
    folder.space.write_bytes(content)
    with pytest.raises(SpaceChangedByHand, match=r"--space COPY\.yaml"):
        restore_copy(folder, events_of(SPACE))
    assert folder.space.read_bytes() == content
