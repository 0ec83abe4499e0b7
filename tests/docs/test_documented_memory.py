"""The example of ``docs/architectures.md`` that edits a memory runs, and does what its comments say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from documents import ROOT, blocks

EXAMPLE = next(block.text for block in blocks(ROOT / "docs/architectures.md") if block.language == "python")


@pytest.fixture(scope="module")
def ran() -> dict[str, Any]:
    """The names that the example leaves behind."""
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    exec(compile(EXAMPLE, "docs/architectures.md", "exec"), found)
    return found


def test_the_example_leaves_a_cleared_memory(ran: dict[str, Any]) -> None:
    assert ran["memory"].snapshots == ()
    assert [layer.shape for layer in ran["newest"]] == [(2, 8, 64), (2, 8, 64)]


def test_pieces_are_of_the_sizes_that_its_comments_say(ran: dict[str, Any]) -> None:
    with torch.no_grad():
        pieces = list(ran["module"].chunks(ran["ids"]))
    assert [tuple(piece.shape) for piece in pieces] == [(2, 32, 64), *[(2, 16, 64)] * 6]


def test_what_was_replaced_and_removed_is_so(ran: dict[str, Any]) -> None:
    memory = ran["module"].new_memory(2)
    for _ in zip(range(3), ran["module"].chunks(ran["ids"], memory), strict=False):
        pass
    second = memory.snapshots[1]
    memory.replace(-1, tuple(torch.zeros_like(layer) for layer in memory.snapshots[-1]))
    memory.remove(0)
    assert memory.snapshots[0] is second
    assert not any(layer.any() for layer in memory.snapshots[-1])
