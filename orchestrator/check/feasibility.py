"""How much of each entry is feasible, with examples; an entry of which nothing is, or a file that does not fit, is a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np

from orchestrator.check.inputs import inspect_inputs
from orchestrator.document import Diagnostics, Node, Position, child_path, parse_document
from orchestrator.space.assignment import Assignment, Infeasible
from orchestrator.space.description import describe_setting
from orchestrator.space.dimension import Dimension
from orchestrator.space.specification import EntrySpecification, SweepSpecification
from orchestrator.space.structures import FeasibleStructures, find_feasible, value_at
from orchestrator.space.study_space import StudySpace, plain

EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """A structure with its counts by scope."""

    configuration: dict[str, Any]
    params: dict[str, int]


@dataclass(frozen=True)
class EntryCheck:
    """What ``check`` says of an entry, over all its grid cells."""

    structures: int
    feasible: int
    exact: bool
    examples: tuple[Example, ...]
    nearest: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        def as_json(examples: tuple[Example, ...]) -> list[dict[str, Any]]:
            return [{"config": example.configuration, "params": example.params} for example in examples]

        return {
            "structures": self.structures,
            "feasible": self.feasible,
            "exact": self.exact,
            "examples": as_json(self.examples),
            "nearest": as_json(self.nearest),
        }


def check_feasibility(specification: SweepSpecification) -> tuple[dict[str, EntryCheck], Diagnostics]:
    """Counts the feasible structures of every entry; where a cell has none, a diagnostic names the nearest.

    What the task has against the files that are named becomes a diagnostic too.
    """
    diagnostics = Diagnostics(specification.source.name)
    root = parse_document(specification.source, Diagnostics(specification.source.name))
    checks = {}
    for entry in specification.entries:
        found = [(cell, find_feasible(cell)) for cell in entry.cells]
        checks[entry.name] = _entry_check(found)
        for cell, structures in found:
            if not len(structures):
                _report_empty(diagnostics, root, entry, cell, structures)
        _check_grid_sampler(specification, diagnostics, root, entry)
    inspect_inputs(specification, diagnostics, root)
    return checks, diagnostics


def _entry_check(found: list[tuple[StudySpace, FeasibleStructures]]) -> EntryCheck:
    examples = [_example(cell, s.row(i)) for cell, s in found for i in _spread(len(s))][:EXAMPLES]
    nearest = [_example(cell, near.drawn) for cell, s in found for near in s.nearest]
    return EntryCheck(
        structures=sum(s.structures for _, s in found),
        feasible=sum(s.feasible for _, s in found),
        exact=all(s.exact for _, s in found),
        examples=tuple(examples),
        nearest=tuple(nearest),
    )


def _spread(size: int) -> list[int]:
    """A few indices from the first to the last."""
    return [int(i) for i in np.unique(np.linspace(0, size - 1, min(EXAMPLES, size)).round())] if size else []


def _example(space: StudySpace, drawn: Mapping[str, Any]) -> Example:
    """A structure as a person writes it; what is not structural is left out."""
    complete = {name: drawn.get(name, value_at(searched.dimension, 0)) for name, searched in space.searched.items()}
    assignment = Assignment(space.fields, complete)
    params = {scope: int(count) for scope, count in space.counts(assignment).by_scope().items()}
    return Example(_shown(space, drawn), params)


def _shown(space: StudySpace, drawn: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: plain(value) for name, value in drawn.items()}, **dict(space.grid)}


def _report_empty(
    diagnostics: Diagnostics, root: Node | None, entry: EntrySpecification, cell: StudySpace, found: FeasibleStructures
) -> None:
    place, path = _place(root, entry.name, bool(found.nearest))
    cell_text = f" (cell {cell.name})" if cell.grid else ""
    if found.nearest and cell.budget:
        near = "; ".join(
            f"{near.count:,} with {', '.join(starmap(describe_setting, _shown(cell, near.drawn).items())) or 'what is given'}"
            for near in found.nearest
        )
        message = f"no structure of `{entry.name}`{cell_text} has {cell.budget.describe()}"
        diagnostics.add(place, path, message, f"nearest: {near}")
        return
    message = f"no structure of `{entry.name}`{cell_text} meets its rules"
    if valueless := _valueless(cell):
        diagnostics.add(place, path, message, f"{valueless}: correct the expression, or widen the ranges that it depends on")
        return
    broken = "; ".join(dict.fromkeys(constraint.description for constraint in _broken(cell)))
    diagnostics.add(place, path, message, broken or "widen the ranges that the expressions depend on")


def _valueless(space: StudySpace) -> str:
    """What is wrong with a computed field, where neither the lower nor the middle nor the upper values give it a value."""
    reason = ""
    for halves in range(3):
        drawn = {name: value_at(d, halves * (d.lattice_size - 1) // 2) for name, d in _dimensions(space).items()}
        assignment = Assignment(space.fields, drawn)
        try:
            for name in space.fields:
                assignment.lookup(name)
        except Infeasible as error:
            reason = reason or f"`{name}` cannot be computed: {error}"
        else:
            return ""
    return reason


def _dimensions(space: StudySpace) -> dict[str, Dimension]:
    return {name: searched.dimension for name, searched in space.searched.items()}


def _place(root: Node | None, entry: str, by_budget: bool) -> tuple[Any, str]:
    """Where the mistake is: at the budget when that excludes everything, else at the entry."""
    constraints = root.get("constraints") if root else None
    if by_budget and constraints is not None and "params" in constraints.entries:
        return constraints.entries["params"].key_node, "constraints.params"
    architectures = root.get("architectures") if root else None
    if architectures is not None and entry in architectures.entries:
        return architectures.entries[entry].key_node, child_path("architectures", entry)
    return Position(), ""


def _broken(space: StudySpace) -> list[Any]:
    """The constraints that hold for no structure, each taken alone."""
    from dataclasses import replace

    alone = [replace(space, constraints=(constraint,), budget=None) for constraint in space.constraints]
    return [c for c, s in zip(space.constraints, alone, strict=True) if not len(find_feasible(s))]


def _check_grid_sampler(
    specification: SweepSpecification, diagnostics: Diagnostics, root: Node | None, entry: EntrySpecification
) -> None:
    if specification.search.sampler != "grid":
        return
    for cell in entry.cells:
        for name, searched in cell.searched.items():
            if not searched.dimension.size:
                place, path = _place(root, entry.name, by_budget=False)
                message = f"`sampler: grid` cannot list the real numbers of `{name}` in `{entry.name}`"
                diagnostics.add(place, path, message, "give `step`, use {choice: […]}, or another sampler")
                return
