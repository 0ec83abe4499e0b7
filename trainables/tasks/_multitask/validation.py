"""The rows of evaluation in files: their prompts as tokens, their labels, and the tokens of every label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.tasks._multitask.datasets import DATASETS

IntArray = npt.NDArray[np.int32]
META = "meta.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of evaluation."""

    task: str
    prompt: IntArray
    """Tokens, the first of them the boundary."""
    label: int


@dataclass(frozen=True, slots=True)
class ValidationRows:
    """All rows, in the order of the tasks and of their files; ``labels`` holds of each task the tokens of each label."""

    rows: Sequence[Row]
    labels: Mapping[str, Sequence[Sequence[int]]]

    @property
    def tasks(self) -> list[str]:
        return [name for name in DATASETS if name in self.labels]

    def of(self, task: str) -> list[int]:
        """The places of the rows of a task."""
        return [place for place, row in enumerate(self.rows) if row.task == task]


def write_validation(folder: Path, validation: ValidationRows, more: Mapping[str, Any]) -> None:
    """Writes ``val_{prompts,starts,tasks,labels}.npy``, int32, and ``meta.json``, which holds ``more`` besides."""
    rows, names = validation.rows, validation.tasks
    starts = np.cumsum([0, *(len(row.prompt) for row in rows)])
    arrays = {
        "prompts": np.concatenate([row.prompt for row in rows]),
        "starts": starts,
        "tasks": [names.index(row.task) for row in rows],
        "labels": [row.label for row in rows],
    }
    for name, array in arrays.items():
        np.save(folder / f"val_{name}.npy", np.asarray(array, dtype=np.int32))
    meta = {**more, "label_tokens": {name: [list(map(int, ids)) for ids in validation.labels[name]] for name in names}}
    (folder / META).write_text(json.dumps(meta, indent=1) + "\n")


def read_validation(folder: Path) -> ValidationRows:
    """What :func:`write_validation` wrote."""
    labels = json.loads((folder / META).read_text())["label_tokens"]
    names = [name for name in DATASETS if name in labels]
    prompts, starts, tasks, own = (np.load(folder / f"val_{name}.npy") for name in ("prompts", "starts", "tasks", "labels"))
    pieces = np.split(prompts, starts[1:-1])
    rows = [Row(names[task], prompt, int(label)) for task, prompt, label in zip(tasks, pieces, own, strict=True)]
    return ValidationRows(rows, labels)
