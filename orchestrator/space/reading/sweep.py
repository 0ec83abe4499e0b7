"""Reads a whole search space."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestrator.document import (
    Diagnostics,
    Document,
    Entry,
    Node,
    SearchSpaceError,
    Source,
    child_path,
    did_you_mean,
    parse_document,
    read_document,
)
from orchestrator.space.assignment import Assignment, Field
from orchestrator.space.constraint import HardConstraint, require
from orchestrator.space.metrics import objective_metrics
from orchestrator.space.reading.cell_labels import cell_labels
from orchestrator.space.reading.constraints import ReadConstraints, entries_of_requirement, read_constraints
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.entry import NOT_YET, ReadEntry, Shared, gridded, read_entry
from orchestrator.space.reading.files import FileFinder
from orchestrator.space.reading.objectives import check_stopping, read_objectives
from orchestrator.space.reading.overrides import apply_overrides
from orchestrator.space.reading.references import check_references
from orchestrator.space.reading.section import read_section
from orchestrator.space.sections import NAME_PATTERN, NAME_RULE, SECTIONS
from orchestrator.space.specification import EntrySpecification, Objective, SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import Constant
from trainables.configuration import Configuration, Rule
from trainables.files import NamedFile
from trainables.registry import RESERVED_TASKS, tasks
from trainables.task import Task, rules_of_pair
from trainables.training.configuration import TrainingConfiguration

TOP_LEVEL = ("name", "task", "model", "architectures", "training", "constraints", *SECTIONS)
_LONGEST_CELL_NAME = 120
"""Cells name folders, whose names a file system limits to 255 bytes."""


def read_search_space(
    path: str | Path, overrides: Sequence[str] = (), known_files: Mapping[str, NamedFile] | None = None
) -> SweepSpecification:
    """Reads and checks a search space, all but the feasibility of its budget and what is in its files.

    A file that it names is looked for beside it, then in the working directory, then among ``known_files`` by what is written.

    Raises:
        SearchSpaceError: with every mistake of the file at once.
    """
    diagnostics, folders = Diagnostics(str(path)), (Path(path).parent, Path())
    return _read(read_document(path, diagnostics), diagnostics, overrides, FileFinder(folders, known_files))


def read_search_space_text(
    text: str, name: str, overrides: Sequence[str] = (), recorded_files: Mapping[str, NamedFile] | None = None
) -> SweepSpecification:
    """The same of a text, whose mistakes are told as those of a file ``name``.

    With ``recorded_files`` nothing is looked for: a file is what they say of the text that names it.
    """
    diagnostics, source = Diagnostics(name), Source(name, text)
    folders = (Path(name).parent, Path()) if recorded_files is None else ()
    files = FileFinder(folders, recorded_files)
    return _read(Document(source, parse_document(source, diagnostics)), diagnostics, overrides, files)


def _read(document: Document, diagnostics: Diagnostics, overrides: Sequence[str], files: FileFinder) -> SweepSpecification:
    if document.root is None:
        raise SearchSpaceError(diagnostics.found, document.source)
    context = Context(document.source, diagnostics, files)
    root = apply_overrides(context, document.root, overrides)
    specification = _Reader(context, document, root).read()
    diagnostics.raise_if_any(document.source)
    assert specification is not None
    return specification


@dataclass(frozen=True)
class _Reader:
    context: Context
    document: Document
    root: Node

    def read(self) -> SweepSpecification | None:
        for key, entry in self.root.entries.items():
            if key not in TOP_LEVEL:
                self.context.unknown_key(entry, key, TOP_LEVEL)
        shared = Shared(self._task(), self.root.get("task"), self._mapping("model"), self._mapping("training"))
        entries = self._entries(shared)
        for read in entries:
            if read.architecture and shared.task_type:
                check_references(self.context, read)
        self._check_model_keys(shared, entries)
        metrics = objective_metrics(shared.task_type) if shared.task_type else {}
        constraints = read_constraints(self.context, self.root.get("constraints"), metrics)
        holds = {item[0].text: entries_of_requirement(self.context, item, entries) for item in constraints.require}
        sections: dict[str, Any] = {name: self._section(name, wanted) for name, wanted in SECTIONS.items() if name != "objective"}
        objectives = read_objectives(self.context, self.root, shared.task_type)
        check_stopping(self.context, self.root, shared.task_type, objectives, sections["scheduler"].name)
        self._check_measurable(shared.task_type, entries, objectives)
        self._refuse_what_is_reserved(sections)
        self._check_experiment()
        name = self._name()
        if not self.context.diagnostics.ok or shared.task_type is None:
            return None
        specified = tuple(_specified(entry, shared.task_type, constraints, holds) for entry in entries)
        self._check_cell_names(specified, entries)
        return SweepSpecification(
            name=name,
            source=self.document.source,
            document=self.root.plain(),
            changed=self.root is not self.document.root,
            task_type=shared.task_type,
            entries=specified,
            objectives=objectives,
            measured=tuple(constraints.measured),
            require_holds_for=holds,
            named_files=dict(self.context.files.found),
            **sections,
        )

    def _check_cell_names(self, specified: Sequence[EntrySpecification], entries: Sequence[ReadEntry]) -> None:
        """Studies, trials and folders are named after cells, so no two may have one name."""
        seen: dict[str, str] = {}
        for entry, read in zip(specified, entries, strict=True):
            for cell in entry.cells:
                if cell.name in seen:
                    message = f"a grid cell of `{entry.name}` has the name `{cell.name}`, as one of `{seen[cell.name]}` has"
                    hint = "give the entry another name, or the grid values that differ in more than punctuation"
                    self.context.error(read.node, child_path("architectures", entry.name), message, hint)
                seen[cell.name] = entry.name

    def _name(self) -> str:
        node = self.root.get("name")
        if node is None:
            return re.sub(r"[^A-Za-z0-9._-]", "-", Path(self.document.source.name).stem).lstrip("._-")[:64] or "sweep"
        if not isinstance(node.value, str) or not re.fullmatch(NAME_PATTERN, node.value):
            self.context.error(node, "name", f"this cannot be a name: {node.text or node.kind}", NAME_RULE)
            return "sweep"
        return node.value

    def _check_experiment(self) -> None:
        """Experiments name folders of artifacts in some tracking stores, so they are named as sweeps are."""
        node = self.root.get("tracking")
        experiment = node.get("experiment") if node else None
        if experiment is not None and isinstance(experiment.value, str) and not re.fullmatch(NAME_PATTERN, experiment.value):
            message = f"this cannot be the name of an experiment: {experiment.text[:80]!r}"
            self.context.error(experiment, "tracking.experiment", message, NAME_RULE)

    def _mapping(self, key: str) -> Node | None:
        node = self.root.get(key)
        if node is None or not self.context.mapping(node, key, f"`{key}`"):
            return None
        return node

    def _task(self) -> type[Task] | None:
        node = self.root.get("task")
        named = node if node is None or isinstance(node.value, str) else node.get("name")
        if named is None:
            place = node or self.root
            hint = f"write task: {{name: NAME, …}}; known: {', '.join(tasks())}"
            self.context.error(place, "task", "the task has no name", hint)
            return None
        known = tasks()
        if isinstance(named.value, str) and named.value in known:
            return known[named.value]
        if named.value in RESERVED_TASKS:
            self.context.error(named, "task.name", f"the task `{named.value}` {NOT_YET}", f"available: {', '.join(known)}")
            return None
        near = did_you_mean(named.text, known)
        hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
        self.context.error(named, "task.name", f"unknown task `{named.text or named.kind}`", hint)
        return None

    def _entries(self, shared: Shared) -> list[ReadEntry]:
        node = self._mapping("architectures")
        if node is None or not node.entries:
            hint = "write architectures: {gpt: {…}, …}"
            self.context.error(node or self.root, "architectures", "no architecture is named", hint)
            return []
        entries = []
        for name, entry in node.entries.items():
            if not re.fullmatch(NAME_PATTERN, name):
                self.context.error(entry.key_node, "architectures", f"this cannot be the name of an entry: {name!r}", NAME_RULE)
            entries.append(read_entry(self.context, name, entry.node, entry.key_node, shared))
        for read in entries:
            self._check_kind(read, shared.task_type)
        return entries

    def _check_kind(self, entry: ReadEntry, task_type: type[Task] | None) -> None:
        architecture = entry.architecture
        if architecture is None or task_type is None or architecture.fits(task_type.name, task_type.kind):
            return
        if architecture.kind != task_type.kind:
            message = f"`{architecture.name}` works on {architecture.kind}, the task `{task_type.name}` gives {task_type.kind}"
        else:
            message = f"`{architecture.name}` does not run on the task `{task_type.name}`"
        fitting = [name for name, task in tasks().items() if architecture.fits(name, task.kind)]
        hint = f"tasks that fit: {', '.join(fitting)}" if fitting else "take another architecture"
        self.context.error(entry.node, child_path("architectures", entry.name), message, hint)

    def _check_measurable(
        self, task_type: type[Task] | None, entries: Sequence[ReadEntry], objectives: Sequence[Objective]
    ) -> None:
        """Without an objective's value no trial of an entry could be more than a failure."""
        for entry, objective in itertools.product(entries, objectives):
            if task_type and entry.architecture and not task_type.measures(objective.metric, entry.architecture):
                message = f"`{entry.architecture.name}` has no `{objective.metric}`, which is an objective"
                hint = "name another metric in `objective`, or leave this entry out"
                self.context.error(entry.node, child_path("architectures", entry.name), message, hint)

    def _check_model_keys(self, shared: Shared, entries: Sequence[ReadEntry]) -> None:
        if shared.model is None or any(entry.architecture is None for entry in entries):
            return
        known = {name for entry in entries if entry.architecture for name in entry.architecture.configuration.hyperparameters()}
        for key, found in shared.model.entries.items():
            if key not in known:
                self.context.unknown_key(found, child_path("model", key), known, "field, which no entry has,")

    def _section(self, name: str, wanted: type[Configuration]) -> Configuration:
        node = self.root.get(name)
        if name == "scheduler" and node is not None and isinstance(node.value, str):
            node = _shorthand(node)
        return read_section(self.context, node, name, wanted)

    def _refuse_what_is_reserved(self, sections: dict[str, Any]) -> None:
        self._refuse("search", "sampler", sections["search"].sampler in ("gp", "nsga2"), "samplers: tpe, random, grid")
        self._refuse("resources", "fusion", sections["resources"].fusion is True, "leave it out, or write auto")

    def _refuse(self, section: str, key: str, reserved: bool, hint: str) -> None:
        node = self.root.get(section)
        place = node.get(key) if node else None
        if reserved and place is not None:
            self.context.error(place, f"{section}.{key}", f"`{key}: {place.text or place.kind}` {NOT_YET}", hint)


def _shorthand(node: Node) -> Node:
    """``scheduler: none`` as ``scheduler: {name: none}``."""
    return Node({"name": Entry("name", node, node)}, node.line, node.column)


def _specified(
    entry: ReadEntry, task_type: type[Task], constraints: ReadConstraints, holds: dict[str, tuple[str, ...]]
) -> EntrySpecification:
    assert entry.architecture is not None
    required = [item[0] for item in constraints.require if entry.name in holds[item[0].text]]
    labels, cells = cell_labels(entry), []
    for grid in _grid_cells(entry):
        fields = {name: _in_cell(field, grid) for name, field in entry.fields.items()}
        base = StudySpace(
            name=_cell_name(entry.name, grid, labels),
            entry=entry.name,
            architecture=entry.architecture,
            task_type=task_type,
            fields=fields,
            budget=constraints.budget,
            grid=grid,
        )
        rules = tuple(_rules(base)) + tuple(require(expression) for expression in required)
        cells.append(replace(base, constraints=rules))
    return EntrySpecification(entry.name, entry.architecture.name, tuple(cells))


def _grid_cells(entry: ReadEntry) -> list[dict[str, Any]]:
    grids = gridded(entry)
    return [dict(zip(grids, values, strict=True)) for values in itertools.product(*(grid.choices for grid in grids.values()))]


def _in_cell(field: Field, grid: dict[str, Any]) -> Field:
    return replace(field, value=Constant(grid[field.name])) if field.name in grid else field


def _cell_name(entry: str, grid: dict[str, Any], labels: Mapping[str, Sequence[tuple[Any, str]]] = MappingProxyType({})) -> str:
    shown = {name: next((text for known, text in labels.get(name, ()) if known is value), value) for name, value in grid.items()}
    parts = [f"{name.rpartition('.')[2]}-{value}" for name, value in shown.items()]
    name = re.sub(r"[^A-Za-z0-9._-]", "-", ".".join([entry, *parts]))
    if len(name) <= _LONGEST_CELL_NAME:
        return name
    return f"{name[:_LONGEST_CELL_NAME]}-{zlib.crc32(repr(grid).encode()):08x}"


def _rules(space: StudySpace) -> list[HardConstraint]:
    """The rules of the architecture, of the task, of the training and of the pair, as hard constraints."""
    model, task = space.model_namespace, space.task_namespace
    own = [(rule, (model,)) for rule in space.architecture.configuration.rules]
    own += [(rule, (task,)) for rule in space.task_type.configuration_type.rules]
    own += [(rule, (space.training_namespace,)) for rule in TrainingConfiguration.rules]
    pair = [(rule, (model, task)) for rule in rules_of_pair(space.architecture, space.task_type)]
    return [_hard(rule, namespaces) for rule, namespaces in [*own, *pair]]


def _hard(rule: Rule, namespaces: tuple[Callable[[Assignment], Any], ...]) -> HardConstraint:
    return HardConstraint(rule.message, lambda assignment: rule.holds(*(namespace(assignment) for namespace in namespaces)))
