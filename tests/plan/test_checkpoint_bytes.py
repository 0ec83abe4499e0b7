"""What ``plan`` says of the disk: how many checkpoints there can be at once, under each retention policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from search_space_text import specified

from orchestrator.check import check_feasibility
from orchestrator.plan import Plan, make_plan, reason_to_ask, render_plan

SPACE = """
task: {{name: mqar, vocab_size: 512}}
architectures: {{gpt: {{dim: 64, n_layers: 2, dk: {{choice: [16, 32]}}}}}}
search: {{sampler: {sampler}, trials: 7, replicates: 2}}
resources: {{cpu: 0.25, concurrency: 3}}
checkpoints: {{keep: {keep}}}
training: {{epochs: 1}}
"""
LARGEST = 4 * 3 * 106_688
"""Weights and Adam's two moments of the wider of both, which ``memsweep count`` gives 106,688 parameters."""


def plan(keep: str, sampler: str = "random") -> Plan:
    return make_plan(specified(SPACE.format(keep=keep, sampler=sampler)))


@pytest.mark.parametrize(("keep", "copies"), [("none", 3), ("last", 14), ("best", 17)])
def test_a_run_in_flight_has_a_checkpoint_and_an_ended_one_what_is_kept(keep: str, copies: int) -> None:
    planned = plan(keep)
    assert (planned.runs, planned.allocation.concurrency) == (14, 3)
    assert planned.checkpoint_bytes == copies * planned.largest_checkpoint
    assert planned.largest_checkpoint == LARGEST


def test_bytes_are_never_rounded_down_to_nothing() -> None:
    specification = specified(SPACE.format(keep="none", sampler="random").replace("dim: 64", "dim: 8"))
    text = render_plan(specification, check_feasibility(specification)[0], make_plan(specification))
    found = re.search(r"checkpoints: at most (\d+) MiB \(keep: none\)", text)
    assert found is not None and int(found[1]) >= 1


def test_a_disk_that_is_too_small_is_a_reason_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan("last")
    assert planned.checkpoint_bytes is not None
    for spare, asked in ((-1, True), (0, False)):
        free = planned.checkpoint_bytes + spare
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: type("Usage", (), {"free": free}))
        assert bool(reason_to_ask(planned, tmp_path / "storage")) is asked
