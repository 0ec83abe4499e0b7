"""How the values of grids are called in the names of cells, where they are no plain numbers or words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.space.reading.entry import ReadEntry, gridded
from trainables.files import shown_names, split_reference
from trainables.pretrained.backbone_names import backbone_names, is_backbone


def cell_labels(entry: ReadEntry) -> dict[str, list[tuple[Any, str]]]:
    """For each grid of files or mappings its values with their labels, by field."""
    files = _shown_files(entry)
    labels = {}
    for name, grid in gridded(entry).items():
        if any(isinstance(value, Mapping) for value in grid.choices):
            labels[name] = list(zip(grid.choices, mapping_labels(grid.choices), strict=True))
        elif entry.fields[name].hyperparameter.file:
            labels[name] = [(value, files.get(value, str(value))) for value in grid.choices]
    return labels


def mapping_labels(values: Sequence[Any]) -> list[str]:
    """What mappings differ in, as ``dim-32``: as many of their fields, in order, as tell them apart; of backbones the names."""
    if all(isinstance(value, str) or is_backbone(value) for value in values):
        return backbone_names(values)
    flat = [dict(_leaves(value)) if isinstance(value, Mapping) else {"": value} for value in values]
    names = list(dict.fromkeys(name for leaves in flat for name in leaves))
    differing = [name for name in names if any(leaves.get(name) != flat[0].get(name) for leaves in flat)]
    labels = [""] * len(flat)
    for count in range(1, len(differing) + 1):
        labels = [_label(leaves, differing[:count]) for leaves in flat]
        if len(set(labels)) == len(labels):
            break
    return labels


def _label(leaves: Mapping[str, Any], names: Sequence[str]) -> str:
    parts = [(name.rpartition(".")[2], leaves[name]) for name in names if name in leaves]
    return ".".join(f"{name}-{_short(value)}".lstrip("-") for name, value in parts) or "default"


def _short(value: Any) -> str:
    return split_reference(value)[0] if isinstance(value, str) else str(value)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, inner


def _shown_files(entry: ReadEntry) -> dict[str, str]:
    """The references in grids of files, as cells are named after them."""
    files = [(entry.fields[name].hyperparameter, grid) for name, grid in gridded(entry).items()]
    return shown_names(value for field, grid in files for value in grid.choices if field.names_file(value))
