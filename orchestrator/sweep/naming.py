"""Names that people read: of runs and trials, and the parameters that they compare."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from orchestrator.space.description import describe_plain
from orchestrator.space.study_space import StudySpace
from trainables.files import split_reference
from trainables.fingerprint import fingerprint
from trainables.pretrained.backbone_names import backbone_name, is_backbone

_FILE_SAFE = {"between": "+", "times": "x"}
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


def shortened(value: Any, between: str = "/", times: str = "×") -> str:
    """A value of a configuration, in short: real numbers with three digits, a file without its digest, a backbone by
    its name, any other mapping as YAML has it.

    Lists in their order, equal neighbours counted: ``[1024, 256, 32]`` is ``1024/256/32``, ``[32, 32, 8]`` is ``32×2/8``. A list
    inside a list stands in parentheses, so that no two lists look the same: ``[[4, 4], [16]]`` is ``(4×2)/(16)``.
    """
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return backbone_name(value) if is_backbone(value) else describe_plain(value)
    if not isinstance(value, (list, tuple)):
        return split_reference(value)[0] if isinstance(value, str) else str(value)
    written = [shortened(item, between, times) for item in value]
    written = [f"({text})" if isinstance(item, (list, tuple)) else text for item, text in zip(value, written, strict=True)]
    counted = [(text, len(list(equal))) for text, equal in itertools.groupby(written)]
    return between.join(text if count == 1 else f"{text}{times}{count}" for text, count in counted) or "[]"


def _searched(value: Any) -> list[Any]:
    from orchestrator.space.value import Constant

    return [part for part in value.parts() if not isinstance(part, Constant)]


def _short(name: str, configuration: Mapping[str, Mapping[str, Any]]) -> str:
    scope, _, leaf = name.rpartition(".")
    value = configuration[scope or "model"][leaf]
    return leaf + (_label(value) if isinstance(value, Mapping) else shortened(value, **_FILE_SAFE))


def _label(model: Mapping[str, Any]) -> str:
    """Of a mapping that describes another model its first word, and digits that tell it from others: ``gpt@3f2a91``.

    A backbone has its own name: few sweeps compare two that are called the same.
    """
    if is_backbone(model):
        return shortened(model, **_FILE_SAFE)
    words = (split_reference(value)[0] for value in model.values() if isinstance(value, str))
    return f"{next(words, '')}@{fingerprint(model):.6}"
