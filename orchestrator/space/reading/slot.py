"""A slot: a place in the document where a value of a known type belongs."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

from orchestrator.document import Node, child_path
from trainables.configuration import Hyperparameter, describe_type

OPTIONS: dict[str, tuple[str, ...]] = {
    "int": ("step", "log", "when"),
    "float": ("step", "log", "when"),
    "choice": ("when",),
    "grid": (),
    "list": ("length", "equal"),
}
"""The kinds of dimensions, each with the keys that may stand beside it."""


@dataclass(frozen=True)
class Slot:
    """What stands there, where that is, what a dimension there is called, and the type that is wanted."""

    node: Node
    path: str
    name: str
    wanted: Any

    def child(self, key: str) -> Slot:
        """The value under ``key`` of the mapping that stands here, for the same wanted type."""
        return Slot(self.node.entries[key].node, child_path(self.path, key), self.name, self.wanted)

    def item(self, index: int) -> Slot:
        """An item of the list that stands here."""
        path = child_path(self.path, index)
        return Slot(self.node.items[index], path, f"{self.name}[{index}]", list_item_type(self.wanted))

    @property
    def wanted_text(self) -> str:
        return "any value" if self.wanted is Any else describe_type(self.wanted)


def list_item_type(wanted: Any) -> Any:
    """The item type of a list field (of the list part of a union), or None."""
    if wanted is Any:
        return Any
    if typing.get_origin(wanted) is list:
        return typing.get_args(wanted)[0]
    return next((item for part in _parts(wanted) if (item := list_item_type(part))), None)


def takes_mapping(wanted: Any) -> bool:
    """Whether a mapping can be a value of the field."""
    return wanted in (Any, dict) or typing.get_origin(wanted) is dict or any(map(takes_mapping, _parts(wanted)))


def _parts(wanted: Any) -> tuple[Any, ...]:
    return typing.get_args(wanted) if typing.get_origin(wanted) in (typing.Union, types.UnionType) else ()


def untyped(name: str) -> Hyperparameter:
    """Stands for a field of an architecture or task that is not available yet: its grammar is checked, nothing else."""
    return Hyperparameter(name=name, type=Any, default=None, meaning="")
