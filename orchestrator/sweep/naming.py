"""Names that people read: of runs and trials, and the parameters that they compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.space.study_space import StudySpace

_SHAPE = {"n_layers": "L", "dim": "D", "n_heads": "H"}
_LONGEST = 120


def trial_id(study: str, number: int) -> str:
    """Unique in the sweep, usable as a folder's name."""
    return f"{study}-{number:04d}"


def run_id(trial: str, seed: int) -> str:
    return f"{trial}-s{seed}"


def compared_parameters(space: StudySpace, configuration: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a person compares: every field that the search space names, by one name across architectures.

    Fields of the model and of training have their own name, those of the task begin with ``task.``.
    """
    found: dict[str, Any] = {}
    for name, field in space.fields.items():
        if not field.written:
            continue
        scope, _, leaf = name.rpartition(".")
        shown = name if scope == "task" or leaf in found else leaf
        found[shown] = configuration[scope or "model"][leaf]
    return found


def run_name(space: StudySpace, configuration: Mapping[str, Mapping[str, Any]], seed: int | None = None) -> str:
    """Short and readable, from the entry and what varies, such as ``gpt_L4-D64-H2_dk48-dv48_lr0.001``."""
    model = configuration["model"]
    shape = [f"{letter}{model[field]}" for field, letter in _SHAPE.items() if field in model]
    varied = [name for name, field in space.fields.items() if name in space.grid or any(_searched(field.value))]
    own = [_short(name, configuration) for name in varied if name not in _SHAPE and "." not in name]
    other = [_short(name, configuration) for name in varied if "." in name]
    parts = [space.entry, "-".join(shape), "-".join(own), *other]
    if seed is not None:
        parts.append(f"s{seed}")
    return "_".join(part for part in parts if part)[:_LONGEST]


def _searched(value: Any) -> list[Any]:
    from orchestrator.space.value import Constant

    return [part for part in value.parts() if not isinstance(part, Constant)]


def _short(name: str, configuration: Mapping[str, Mapping[str, Any]]) -> str:
    scope, _, leaf = name.rpartition(".")
    value = configuration[scope or "model"][leaf]
    return f"{leaf}{value:.3g}" if isinstance(value, float) else f"{leaf}{value}"
