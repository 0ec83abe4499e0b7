"""Reads one entry: which architecture it is, and every field of its model, its task and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.document import Entry, Node, child_path, did_you_mean
from orchestrator.space.assignment import Field
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.slot import untyped
from orchestrator.space.reading.value import Gridded, ValueReader, Written
from orchestrator.space.value import Constant
from trainables.architecture import Architecture
from trainables.configuration import Configuration
from trainables.registry import RESERVED_ARCHITECTURES, architectures
from trainables.task import Task
from trainables.training.configuration import TrainingConfiguration

NOT_YET = "is not available yet"
NOT_FIELDS = ("architecture", "task", "training")
"""Keys of an entry that are no fields of its model."""

_EVALUATION = "eval_batch_size"
"""What of training matters to an entry that only evaluates."""

Placed = Mapping[str, tuple[str, Entry]]


@dataclass
class ReadEntry:
    """An entry as read: fields by full name (``dk``, ``task.vocab_size``, ``training.lr``) and the expressions in them."""

    name: str
    node: Node
    architecture: Architecture | None
    fields: dict[str, Field] = field(default_factory=dict)
    written: dict[str, list[Written]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    """Where each written field stands."""


@dataclass(frozen=True)
class Shared:
    """What the entries of a sweep share."""

    task_type: type[Task] | None
    task: Node | None
    model: Node | None
    training: Node | None


def read_entry(context: Context, name: str, node: Node, key_node: Node, shared: Shared) -> ReadEntry:
    """Reads an entry; mistakes are reported and their fields left out."""
    path = child_path("architectures", name)
    entry = ReadEntry(name, key_node, _architecture(context, name, node, key_node, path))
    if not context.mapping(node, path, f"the entry `{name}`"):
        return entry
    model_type = entry.architecture.configuration if entry.architecture else None
    own = {key: found for key, found in _placed(node, path).items() if key not in NOT_FIELDS}
    _check_keys(context, own, model_type)
    shared_model = _placed(shared.model, "model") if shared.model else {}
    known = model_type.hyperparameters() if model_type else None
    model = {key: found for key, found in {**shared_model, **own}.items() if known is None or key in known}
    _read_fields(context, entry, "", model, model_type, {})
    _read_task(context, entry, shared, node, path)
    _read_training(context, entry, shared, node, path)
    return entry


def _architecture(context: Context, name: str, node: Node, key_node: Node, path: str) -> Architecture | None:
    written = node.get("architecture")
    place, wanted = (written, written.value) if written else (key_node, name)
    known = architectures()
    if isinstance(wanted, str) and wanted in known:
        return known[wanted]
    if wanted in RESERVED_ARCHITECTURES:
        context.error(place, path, f"the architecture `{wanted}` {NOT_YET}", f"available: {', '.join(known)}")
        return None
    shown = wanted if isinstance(wanted, str) else place.text or place.kind
    near = did_you_mean(shown, known)
    hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
    if not written:
        hint += "; an entry with a name of its own needs `architecture: NAME`"
    context.error(place, path, f"unknown architecture `{shown}`", hint)
    return None


def _placed(node: Node, path: str) -> dict[str, tuple[str, Entry]]:
    """The entries of a mapping by key, each with its path."""
    return {key: (child_path(path, key), entry) for key, entry in node.entries.items()}


def _check_keys(context: Context, own: Placed, model_type: type[Configuration] | None) -> None:
    if model_type is None:
        return
    known = model_type.hyperparameters()
    for key, (path, found) in own.items():
        if key not in known:
            context.unknown_key(found, path, [*known, *NOT_FIELDS], "field")


def _read_fields(
    context: Context,
    entry: ReadEntry,
    scope: str,
    placed: Placed,
    configuration_type: type[Configuration] | None,
    defaults: Mapping[str, Any],
) -> None:
    """Reads the fields of one scope: the written ones, then the defaults of the others."""
    known = configuration_type.hyperparameters() if configuration_type else {key: untyped(key) for key in placed}
    for key, hyperparameter in known.items():
        name = scope + key
        if key not in placed:
            default = defaults.get(key, hyperparameter.default)
            entry.fields[name] = Field(name, hyperparameter, Constant(default), written=False)
            continue
        path, found = placed[key]
        if key in defaults:
            hyperparameter = replace(hyperparameter, default=defaults[key])
        reader = ValueReader(context, hyperparameter)
        value = reader.read(found.node, path, name)
        entry.written[name] = reader.written
        entry.nodes[name] = found.node
        if value is not None:
            entry.fields[name] = Field(name, hyperparameter, value, written=True)


def _merged(
    context: Context, shared: Node | None, shared_path: str, own: Node | None, own_path: str
) -> dict[str, tuple[str, Entry]]:
    """The entries of two mappings, the own ones over the shared ones."""
    merged: dict[str, tuple[str, Entry]] = {}
    for node, path in ((shared, shared_path), (own, own_path)):
        if node is not None and context.mapping(node, path, f"`{path}`"):
            merged |= _placed(node, path)
    return merged


def _read_task(context: Context, entry: ReadEntry, shared: Shared, node: Node, path: str) -> None:
    own = node.get("task")
    if own is not None and own.get("name") is not None:
        named = own.entries["name"]
        hint = "put `name` into the shared `task`"
        context.error(named.key_node, child_path(path, "task.name"), "all entries of a sweep share one task", hint)
    task_node = shared.task if shared.task and isinstance(shared.task.value, dict) else None
    placed = _merged(context, task_node, "task", own, child_path(path, "task"))
    placed.pop("name", None)
    configuration_type = shared.task_type.configuration_type if shared.task_type else None
    if configuration_type:
        _check_scope(context, placed, configuration_type, f"field of the task `{shared.task_type.name}`")  # type: ignore[union-attr]
    _read_fields(context, entry, "task.", placed, configuration_type, {})


def _read_training(context: Context, entry: ReadEntry, shared: Shared, node: Node, path: str) -> None:
    placed = _merged(context, shared.training, "training", node.get("training"), child_path(path, "training"))
    available = shared.task_type is not None and entry.architecture is not None
    configuration_type: type[Configuration] | None = TrainingConfiguration if available else None
    if configuration_type:
        _check_scope(context, placed, configuration_type, "field of `training`")
    defaults = shared.task_type.training_defaults if shared.task_type else {}
    _read_fields(context, entry, "training.", placed, configuration_type, defaults)
    if shared.task_type is not None and not shared.task_type.trains:
        _refuse_any_training(context, shared.task_type, placed)
    elif entry.architecture is not None and entry.architecture.evaluation_only:
        _refuse_training(context, entry, node.get("training"), child_path(path, "training"))
        _leave_out_training(entry, node.get("training"))
    _refuse_training_without_epochs(context, entry, placed)


def _refuse_any_training(context: Context, task_type: type[Task], placed: Placed) -> None:
    for path, found in placed.values():
        message = f"the task `{task_type.name}` trains nothing: `{found.key}` has no effect"
        context.error(found.key_node, path, message, "leave `training` out")


def _refuse_training(context: Context, entry: ReadEntry, own: Node | None, path: str) -> None:
    """Of the section of its own of an entry that only evaluates."""
    assert entry.architecture is not None
    for key, found in own.entries.items() if own else ():
        if key in TrainingConfiguration.hyperparameters() and key != _EVALUATION:
            message = f"`{entry.architecture.name}` has nothing to train: `{key}` has no effect on it"
            hint = f"leave it out; `training` of this entry may hold `{_EVALUATION}` only"
            context.error(found.key_node, child_path(path, key), message, hint)


def _leave_out_training(entry: ReadEntry, own: Node | None) -> None:
    """What is written for the entries that train becomes the default here; there are no epochs."""
    for name, read in entry.fields.items():
        key = name.removeprefix("training.")
        if key == name or (key == _EVALUATION and (isinstance(read.value, Constant) or (own and own.get(key)))):
            continue
        if read.written:
            entry.fields[name] = replace(read, value=Constant(read.hyperparameter.default), written=False)
        entry.written.pop(name, None)
    epochs = entry.fields.get("training.epochs")
    if epochs is not None:
        entry.fields["training.epochs"] = replace(epochs, value=Constant(0))


def _check_scope(context: Context, placed: Placed, configuration_type: type[Configuration], what: str) -> None:
    for key, (path, found) in placed.items():
        if key not in configuration_type.hyperparameters():
            context.unknown_key(found, path, configuration_type.hyperparameters(), what)


def _refuse_training_without_epochs(context: Context, entry: ReadEntry, placed: Placed) -> None:
    epochs = entry.fields.get("training.epochs")
    if epochs is None or not isinstance(epochs.value, Constant) or epochs.value.value != 0:
        return
    for key, (path, found) in placed.items():
        read = entry.fields.get(f"training.{key}")
        if read and not isinstance(read.value, Constant):
            message = f"`{key}` cannot be searched: `epochs: 0` only evaluates"
            context.error(found.node, path, message, "give a constant, or train")


def gridded(entry: ReadEntry) -> dict[str, Gridded]:
    """The grid dimensions of an entry by field name."""
    return {name: field.value for name, field in entry.fields.items() if isinstance(field.value, Gridded)}
