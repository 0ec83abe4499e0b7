"""Reads a mapping that describes another model: plain values only, each mistake at its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.document import Entry, Node, child_path
from orchestrator.space.reading.context import Context, Mistake, nearest_choice
from orchestrator.space.reading.files import FileMistake
from orchestrator.space.reading.section import plain_problem
from orchestrator.space.reading.slot import OPTIONS, takes_mapping
from trainables.configuration import Abbreviated, ConfigurationError, DescribesFiles, Hyperparameter, Nested

MADE_ONCE = "`{}` describes a model that is made once for all trials: nothing in it can be searched or computed"
SEARCH_WHOLE = "give a constant, or search whole ones with {choice: [{…}, {…}]}"


def read_nested(context: Context, owner: Hyperparameter, node: Node, path: str) -> dict[str, Any]:
    """The mapping that stands at ``node`` as what ``owner.nested`` reads in it, with references to its files.

    Raises:
        Mistake: there are some; all have been reported.
    """
    assert owner.nested is not None
    nested = owner.nested
    reading = _Reading(context, owner, nested, node, path, _known_fields(context, owner, nested, node, path))
    values = reading.group(node, path, "")
    if reading.refused:
        raise Mistake
    values = reading.with_descriptions(values)
    try:
        return dict(nested.read(values))
    except ConfigurationError as error:
        reading.report(error)
        raise Mistake from None


def _known_fields(context: Context, owner: Hyperparameter, nested: Nested, node: Node, path: str) -> dict[str, Hyperparameter]:
    try:
        return nested.fields(node.plain())
    except ConfigurationError as error:
        # For the hints: what stands beside the default is likely to stand beside what was meant.
        _Reading(context, owner, nested, node, path, nested.fields(owner.default_mapping)).report(error)
        raise Mistake from None


def mapping_node(owner: Hyperparameter, node: Node) -> Node | None:
    """The mapping that describes another model at ``node``: the one that stands there, or the one that a text there abbreviates;
    None where neither does."""
    if isinstance(node.value, dict):
        return node
    abbreviates = isinstance(node.value, str) and node.value not in owner.names and isinstance(owner.nested, Abbreviated)
    if not abbreviates:
        return None
    name = owner.nested.text_field  # type: ignore[union-attr]
    return replace(node, value={name: Entry(name, node, node)}, text="")


@dataclass(frozen=True)
class _Reading:
    context: Context
    owner: Hyperparameter
    nested: Nested
    node: Node
    path: str
    known: Mapping[str, Hyperparameter]
    written_files: dict[str, str] = field(default_factory=dict)
    """What is written in each file field, by dotted name."""
    refused: list[str] = field(default_factory=list)
    """Paths of the mistakes; a mapping that several entries share is read again, and its mistakes count each time."""

    def group(self, node: Node, path: str, prefix: str) -> dict[str, Any]:
        """The values of a mapping whose fields begin with ``prefix``; those with mistakes are left out."""
        values: dict[str, Any] = {}
        for key, entry in node.entries.items():
            name, place = prefix + key, child_path(path, key)
            if name in self.known:
                values[key] = self._value(entry.node, place, name)
            elif not any(other.startswith(f"{name}.") for other in self.known):
                self._unknown(entry, place, prefix)
            elif self.context.mapping(entry.node, place, f"`{self.owner.name}.{name}`"):
                values[key] = self.group(entry.node, place, f"{name}.")
            else:
                self.refused.append(place)
        return values

    def with_descriptions(self, values: dict[str, Any]) -> dict[str, Any]:
        """``values`` with what follows from the files that they name."""
        if not isinstance(self.nested, DescribesFiles):
            return values
        for name, written in self.written_files.items():
            told = self._told(name, written, self.nested)
            for key in told:
                if key in self.node.entries:
                    message = f"`{self.owner.name}.{key}` is read from `{written}`"
                    self.context.error(self.node.entries[key].key_node, child_path(self.path, key), message, "leave it out")
                    raise Mistake
            values = {**values, **told}
        return values

    def report(self, error: ConfigurationError) -> None:
        """Each problem at the value that it is about, or at the mapping that lacks it."""
        for name, message in error.problems:
            node, path = self._place(name)
            described = self.known.get(name or "")
            hint = nearest_choice(node.value, described.type, described.meaning) if described else ""
            self.context.error(node, path, f"`{self.owner.name}.{name}` {message}" if name else message, hint)

    def _value(self, node: Node, path: str, name: str) -> Any:
        described = self.known[name]
        if _is_searched(node, described):
            self._refuse(node, path, MADE_ONCE.format(self.owner.name), SEARCH_WHOLE)
            return None
        problem, value = (None, node.plain()) if described.type is Any else plain_problem(node, described)
        if problem:
            hint = nearest_choice(node.value, described.type, described.meaning)
            self._refuse(node, path, f"`{self.owner.name}.{name}` {problem}", hint)
            return None
        return self._reference(node, path, name, value) if described.names_file(value) else value

    def _reference(self, node: Node, path: str, name: str, written: str) -> str | None:
        try:
            reference = self.context.files.find(written, self.known[name]).reference
        except FileMistake as mistake:
            self._refuse(node, path, mistake.message, mistake.hint)
            return None
        self.written_files[name] = written
        return reference

    def _told(self, name: str, written: str, nested: DescribesFiles) -> Mapping[str, Any]:
        node, path = self._place(name)
        try:
            return self.context.files.described(written, f"{self.owner.name}.{name}", self.known[name], nested)
        except FileMistake as mistake:
            self.context.error(node, path, mistake.message, mistake.hint)
        except ConfigurationError as error:
            for inner, message in error.problems:
                self.context.error(node, path, f"`{inner}` {message}" if inner and inner != name else message)
        raise Mistake

    def _refuse(self, node: Node, path: str, message: str, hint: str) -> None:
        self.refused.append(path)
        self.context.error(node, path, message, hint)

    def _unknown(self, entry: Entry, path: str, prefix: str) -> None:
        self.refused.append(path)
        if entry.key in OPTIONS:
            self.context.error(entry.key_node, path, MADE_ONCE.format(self.owner.name), SEARCH_WHOLE)
            return
        here = list(dict.fromkeys(name.removeprefix(prefix).split(".")[0] for name in self.known if name.startswith(prefix)))
        elsewhere = next((name for name in self.known if name.endswith(f".{entry.key}")), None)
        if elsewhere and not prefix:
            message = f"unknown field of `{self.owner.name}` `{entry.key}`"
            self.context.error(entry.key_node, path, message, f"did you mean `{elsewhere}`?")
            return
        self.context.unknown_key(entry, path, here, f"field of `{self.owner.name}`")

    def _place(self, name: str | None) -> tuple[Node, str]:
        """The value of a dotted field, else the innermost mapping in which it would stand."""
        node, path = self.node, self.path
        for key in name.split(".") if name else ():
            inner = node.get(key)
            if inner is None:
                break
            node, path = inner, child_path(path, key)
        return node, path


def _is_searched(node: Node, described: Hyperparameter) -> bool:
    """Whether an expression or a dimension stands here, or inside a list that stands here."""
    within = [inner for _, inner in node.walk()]
    if any(isinstance(inner.value, str) and "${" in inner.value for inner in within):
        return True
    return not takes_mapping(described.type) and any(inner.entries.keys() & OPTIONS.keys() for inner in within)
