"""Stages: what runs share is made once, costs what it costs, and belongs to no run's checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables.stages import Stage, StageContext, make_stages
from trainables.training.own_state import load_own_state, own_state


def _stage(name: str, made: list[str], values: dict[str, Any] | None = None) -> Stage:
    def make(folder: Path, context: StageContext) -> None:
        made.append(name)
        before = ",".join(f"{key}={path.name}" for key, path in context.folders.items())
        (folder / "text.txt").write_text(f"{name} after {before}")

    return Stage(name, f"the {name}", values or {"x": name}, make)


def _context(root: Path) -> StageContext:
    return StageContext(root, root / "data", torch.device("cpu"))


def test_stages_are_made_once_in_order_each_with_the_folders_before_it(tmp_path: Path) -> None:
    made: list[str] = []
    stages: Sequence[Stage] = [_stage("base", made), _stage("store", made)]
    folders = make_stages(stages, _context(tmp_path))
    again = make_stages(stages, _context(tmp_path))
    assert made == ["base", "store"] and folders == again
    assert (folders["store"] / "text.txt").read_text() == f"store after base={folders['base'].name}"


def test_a_manifest_tells_the_title_and_the_cost(tmp_path: Path) -> None:
    folder = make_stages([_stage("base", [])], _context(tmp_path))["base"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["title"] == "the base" and manifest["values"] == {"x": "base"}
    assert manifest["cost"]["time/total_s"] > 0


def test_a_stage_of_another_sweep_is_linked_with_its_cost(tmp_path: Path) -> None:
    made: list[str] = []
    there = make_stages([_stage("base", made)], _context(tmp_path / "there"))["base"]
    here = make_stages([_stage("base", made)], _context(tmp_path / "here"), [tmp_path / "there"])["base"]
    assert made == ["base"] and here.parent.name == "here"
    assert json.loads((here / "manifest.json").read_text()) == json.loads((there / "manifest.json").read_text())


def test_a_stage_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path, context: StageContext) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        make_stages([Stage("base", "the base", {}, fail)], _context(tmp_path))
    assert list(tmp_path.iterdir()) == []


class _Based(nn.Module):
    prepared_prefixes = ("base.",)

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


def test_what_comes_from_stages_is_in_no_checkpoint_and_stays_when_one_is_read() -> None:
    module, other = _Based(), _Based()
    base = other.base.weight.clone()
    assert set(own_state(module)) == {"head.weight", "head.bias"}
    load_own_state(other, own_state(module))
    assert torch.equal(other.head.weight, module.head.weight) and torch.equal(other.base.weight, base)


def test_a_state_of_another_module_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"other names: head\.bias"):
        load_own_state(_Based(), {"head.weight": torch.zeros(1, 2)})
