"""Random search spaces over list-valued fields as YAML text, each with what its configurations are by brute force.

The brute force enumerates values, not dimensions: it evaluates expressions as Python, checks a configuration by resolving a
request, and counts what the module that it builds stores.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.training.request import RunRequest

Values = dict[str, Any]

_REQUIRE = {
    "grouped_vq_mlp": (
        *("sum(groups) <= 12", "groups[0] >= groups[-1]", "prod(groups) % 3 != 1", "len(groups) in [1, 2]"),
        *("dim / (groups[0] - 2) > 1", "groups != [2, 2]", "groups[1] > 2", "max(groups) ** 0.5 < dim - 5.5"),
    ),
    "grouped_hierarchical_vq_mlp": ("len(levels) == 2 or dim > 6", "sum(levels[0]) < 9", "levels[1][0] > 2", "dim % 4 == 0"),
}


@dataclass(frozen=True)
class RandomLists:
    """``lists`` maps a width to the values that the list field has there, one for each assignment of its dimensions."""

    architecture: str
    field: str
    dims: tuple[int, ...]
    written: str
    lists: dict[int, list[Any]]
    require: tuple[str, ...] = ()
    window: tuple[int, int] | None = None

    def yaml(self) -> str:
        constraints = [f"require: {json.dumps(self.require)}"] if self.require else []
        constraints += [f"params: {{scope: stored, min: {self.window[0]}, max: {self.window[1]}}}"] if self.window else []
        return (
            "task: {name: forecasting, time_steps: 8}\n"
            f"architectures:\n  {self.architecture}:\n    dim: {{choice: {list(self.dims)}}}\n    {self.field}: {self.written}\n"
            f"constraints: {{{', '.join(constraints)}}}\n"
        )

    def assignments(self) -> Iterator[Values]:
        return ({"dim": dim, self.field: value} for dim in self.dims for value in self.lists[dim])

    def meets_rules(self, values: Values) -> bool:
        """Everything but the window."""
        names = {**values, "__builtins__": {}, "sum": sum, "prod": _prod, "len": len, "max": max}
        try:
            _request(self.architecture, values).resolved()
            return all(eval(text, dict(names)) for text in self.require)
        except (ConfigurationError, ArithmeticError, IndexError):
            return False

    def stored(self, values: Values) -> int:
        return _stored(self.architecture, json.dumps(values))

    def feasible(self) -> list[Values]:
        low, high = self.window or (0, 10**9)
        return [values for values in self.assignments() if self.meets_rules(values) and low <= self.stored(values) <= high]


def _prod(values: list[int]) -> int:
    return functools.reduce(lambda one, other: one * other, values, 1)


def _request(architecture: str, values: Values) -> RunRequest:
    return RunRequest(run="", architecture=architecture, task="forecasting", model=values, task_values={}, artifacts=Path())


@functools.lru_cache(maxsize=20_000)
def _stored(architecture: str, values: str) -> int:
    resolved = _request(architecture, json.loads(values)).resolved()
    with torch.device("meta"):
        return int(measure_counts(resolved.architecture.build(resolved.model, resolved.task)).stored)


def _subset(draw: Any, values: tuple[Any, ...], most: int = 2) -> tuple[Any, ...]:
    return tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)))


def _choice(values: tuple[Any, ...]) -> str:
    return f"{{choice: {json.dumps(values)}}}"


def _of_variable_length(draw: Any, dims: tuple[int, ...]) -> tuple[str, dict[int, list[Any]]]:
    items, lengths, equal = _subset(draw, (2, 3, 4, 6)), _subset(draw, (1, 2, 3)), draw(st.booleans())
    found = [
        list(value)
        for length in lengths
        for value in ([(item,) * length for item in items] if equal else itertools.product(items, repeat=length))
    ]
    return f"{{list: {_choice(items)}, length: {_choice(lengths)}, equal: {json.dumps(equal)}}}", dict.fromkeys(dims, found)


def _of_computed_length(draw: Any, dims: tuple[int, ...]) -> tuple[str, dict[int, list[Any]]]:
    """A length of 0, and half an item, are no lists."""
    items, text = _subset(draw, (2, 3, 5)), draw(st.sampled_from(["dim // 4", "dim / 4", "dim // 4 - 1"]))
    found: dict[int, list[Any]] = {}
    for dim in dims:
        length = eval(text, {"dim": dim})
        found[dim] = [[item] * int(length) for item in items] if length >= 1 and length == int(length) else []
    return f'{{list: {_choice(items)}, length: "${{{text}}}", equal: true}}', found


def _of_choices(draw: Any, dims: tuple[int, ...]) -> tuple[str, dict[int, list[Any]]]:
    chosen = _subset(draw, ((2,), (3, 2), (4, 4), (2, 3, 4)), most=3)
    return _choice(chosen), {dim: [list(value) for value in chosen] for dim in dims}


def _of_computed_items(draw: Any, dims: tuple[int, ...]) -> tuple[str, dict[int, list[Any]]]:
    items, forward = _subset(draw, (2, 4, 5, 8)), draw(st.booleans())
    text = draw(st.sampled_from(["{0} // 2", "{0} / 2", "dim - {0}", "6 // ({0} - 2) + 1"]))
    found: dict[int, list[Any]] = {}
    for dim in dims:
        found[dim] = []
        for item in items:
            try:
                computed = eval(text.format(item), {"dim": dim})
            except ZeroDivisionError:
                continue
            if computed >= 1 and computed == int(computed):
                found[dim].append([int(computed), item] if forward else [item, int(computed)])
    own = f'"${{{text.format("groups[-1]" if forward else "groups[0]")}}}"'
    return f"[{own}, {_choice(items)}]" if forward else f"[{_choice(items)}, {own}]", found


def _nested(draw: Any, dims: tuple[int, ...]) -> tuple[str, dict[int, list[Any]]]:
    items, inner, outer = _subset(draw, (2, 4)), _subset(draw, (1, 2)), _subset(draw, (1, 2))
    level = [list(value) for length in inner for value in itertools.product(items, repeat=length)]
    found = [list(value) for length in outer for value in itertools.product(level, repeat=length)]
    written = f"{{list: {{list: {_choice(items)}, length: {_choice(inner)}}}, length: {_choice(outer)}}}"
    return written, dict.fromkeys(dims, found)


@st.composite
def random_lists(draw: Any) -> RandomLists:
    """Of a few hundred configurations at most; a window is one that a configuration meets, where any meets the rules."""
    dims = _subset(draw, (4, 6, 8, 12), most=3)
    nested = draw(st.booleans())
    architecture, field = ("grouped_hierarchical_vq_mlp", "levels") if nested else ("grouped_vq_mlp", "groups")
    flat = st.sampled_from([_of_variable_length, _of_computed_length, _of_choices, _of_computed_items])
    written, lists = (_nested if nested else draw(flat))(draw, dims)
    require = tuple(draw(st.lists(st.sampled_from(_REQUIRE[architecture]), max_size=2, unique=True)))
    space = RandomLists(architecture, field, dims, written, lists, require)
    candidates = [values for values in space.assignments() if space.meets_rules(values)]
    if not candidates or draw(st.booleans()):
        return space
    count = space.stored(draw(st.sampled_from(candidates)))
    return replace(space, window=(count - draw(st.integers(0, count // 5)), count + draw(st.integers(0, count // 5))))
