"""Typed configurations: the one place from which keys, types, ranges, defaults and meanings are read.

A configuration is a frozen keyword-only dataclass whose fields are made with :func:`hyperparameter`. The search-space reader,
the JSON Schema, ``memsweep list`` and every error message are derived from these fields, so that adding a field
adds it everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from trainables.files import identity

_METADATA_KEY = "hyperparameter"


class ConfigurationError(ValueError):
    """One or more values do not fit a configuration; ``problems`` lists them as (field or None, message)."""

    def __init__(self, problems: list[tuple[str | None, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{name}: {text}" if name else text for name, text in problems))


@dataclass(frozen=True, slots=True)
class Rule:
    """A relation that every configuration must satisfy.

    ``holds`` receives an object with the configuration's fields as attributes (a task's rule: the task's; a pair rule:
    the model's and the task's). Fields may be NumPy arrays, one element a candidate, so write ``&``, ``|`` and ``~``
    between parenthesised comparisons, never ``and``, ``or`` or ``if``.
    """

    holds: Callable[..., Any]
    message: str


class Nested(Protocol):
    """What is known of a field whose mappings describe another model. Groups of fields are dotted: ``training.lr``."""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Hyperparameter]:
        """The fields that may stand beside ``values`` as written, by dotted name.

        Raises:
            ConfigurationError: what decides which fields there are, such as the name of an architecture, is wrong.
        """

    def read(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The mapping as plain values in their final types; what it returns it takes again and returns unchanged.

        Raises:
            ConfigurationError: what does not fit, each problem with the dotted name of its field.
        """

    def identity(self, values: Mapping[str, Any]) -> Any:
        """Plain values that are equal for mappings that mean the same: defaults filled in, files by their content."""


@runtime_checkable
class DescribesFiles(Protocol):
    """A :class:`Nested` that takes some values from its files, so that nothing else has to open them."""

    def describe_file(self, field: str, path: Path) -> Mapping[str, Any]:
        """Plain values from the file or folder that ``field`` names, merged into the mapping; nobody writes these keys.

        Raises:
            ConfigurationError: the file does not hold what it should.
        """


@runtime_checkable
class Abbreviated(Protocol):
    """A :class:`Nested` whose mappings may be written as the value of one field alone, which is a text."""

    text_field: str
    """The field of its mappings that a text stands for, unless the text is one of the names of the owner."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """What is known of one field: everything that a reader, a schema or a table needs."""

    name: str
    type: Any
    default: Any
    meaning: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    file: bool = False
    """Whether a value names a file (see :mod:`trainables.files`)."""
    folder: bool = False
    """Whether a folder will do as well as a file."""
    names: tuple[str, ...] = ()
    """Texts of a file field, or of one that describes another model, that have a meaning of their own."""
    nested: Nested | None = None
    """What is known of the mappings of a field that describes another model."""

    @property
    def default_mapping(self) -> Mapping[str, Any]:
        """Of a field that describes another model the default, where that is a mapping; else an empty one."""
        return self.default if isinstance(self.default, Mapping) else {}

    def names_file(self, value: Any) -> bool:
        """Whether ``value`` is a path or a reference, and none of the names with a meaning of their own."""
        return self.file and isinstance(value, str) and value not in self.names

    def identity(self, value: Any) -> Any:
        """What decides results: of a file its content, of a nested mapping what it means."""
        if self.nested is not None and isinstance(value, Mapping):
            return self.nested.identity(value)
        return identity(value) if self.names_file(value) else value

    def problem_with(self, value: Any) -> str | None:
        """The reason why ``value`` (already of the right type) is out of range, or None."""
        if isinstance(value, (list, tuple)):
            return next((text for item in value if (text := self.problem_with(item))), None)
        if self.nested is not None and isinstance(value, str) and value not in self.names:
            return f"{value!r} is none of {', '.join(self.names)}, and files are found by what reads a search space"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if math.isnan(value):
            return "must be a number, got nan"
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}, got {value:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}, got {value:g}"
        if self.above is not None and value <= self.above:
            return f"must be greater than {self.above:g}, got {value:g}"
        return None


def hyperparameter(
    default: Any,
    meaning: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    file: bool = False,
    folder: bool = False,
    names: tuple[str, ...] = (),
    nested: Nested | None = None,
) -> Any:
    """A dataclass field with a default, a meaning and, for numbers (also inside lists), an allowed range.

    The text of a ``file`` field names a file: what reads a search space finds it and puts the digest of its content behind the
    name, so that results are known by what was read, wherever it lay. With ``folder`` it may name a folder too; the texts in
    ``names`` are no paths (a file called like one is written ``./facts``). A mapping of a ``nested`` field describes
    another model, whose fields ``nested`` knows; where that is :class:`Abbreviated` and the type admits text, a text may stand
    for a mapping of one field, and those in ``names`` for themselves.
    """
    bounds = {"minimum": minimum, "maximum": maximum, "above": above}
    outside = {"file": file, "folder": folder, "names": names, "nested": nested}
    metadata = {_METADATA_KEY: {"meaning": meaning, **bounds, **outside}}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Configuration:
    """Base of all configurations. Subclasses are decorated ``@dataclass(frozen=True, kw_only=True)``.

    Allowed field types: ``int``, ``float``, ``bool``, ``str``, ``Literal[...]`` of text, ``list[T]``, ``dict[str, Any]``
    and ``T | None``.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def hyperparameters(cls) -> dict[str, Hyperparameter]:
        """The fields by name, in the order of their definition."""
        return _hyperparameters(cls)  # type: ignore[arg-type]

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Builds a checked configuration; fields that are not named keep their default.

        Raises:
            ConfigurationError: listing every unknown name, wrong type, value out of range and broken rule.
        """
        fields = cls.hyperparameters()
        problems: list[tuple[str | None, str]] = [(name, "is not a field") for name in values if name not in fields]
        converted: dict[str, Any] = {}
        for name, field in fields.items():
            if name not in values:
                continue
            try:
                converted[name] = _converted(values[name], field)
            except ConfigurationError as error:
                problems += [(f"{name}.{inner}" if inner else name, text) for inner, text in error.problems]
                continue
            except ValueError as error:
                problems.append((name, str(error)))
                continue
            if problem := field.problem_with(converted[name]):
                problems.append((name, problem))
        if problems:
            raise ConfigurationError(problems)
        configuration = cls(**converted)
        broken: list[tuple[str | None, str]] = [(None, r.message) for r in cls.rules if not r.holds(configuration)]
        if broken:
            raise ConfigurationError(broken)
        return configuration

    def to_values(self) -> dict[str, Any]:
        """All fields as plain values, defaults included."""
        return {name: getattr(self, name) for name in self.hyperparameters()}

    def identity_values(self) -> dict[str, Any]:
        """All fields as what decides results: of a file its content, whatever its name."""
        return {name: field.identity(getattr(self, name)) for name, field in self.hyperparameters().items()}


def _converted(value: Any, field: Hyperparameter) -> Any:
    converted = convert(value, field.type)
    if field.nested is not None and isinstance(converted, Mapping):
        return dict(field.nested.read(converted))
    return converted


@functools.cache
def _hyperparameters(cls: type[Configuration]) -> dict[str, Hyperparameter]:
    hints = typing.get_type_hints(cls)
    described = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        known = field.metadata[_METADATA_KEY]
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        described[field.name] = Hyperparameter(name=field.name, type=hints[field.name], default=default, **known)
    return described


def convert(value: Any, wanted: Any) -> Any:
    """``value`` as the type ``wanted``; only lossless conversions (an int is a float, 4.0 is an int).

    Raises:
        ValueError: with a message such as ``expected a whole number, got 'abc'``.
    """
    origin = typing.get_origin(wanted)
    if origin is typing.Literal:
        return _convert_literal(value, typing.get_args(wanted))
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, typing.get_args(wanted))
    if origin is list:
        return _convert_list(value, typing.get_args(wanted)[0])
    if wanted is dict or origin is dict:
        return _expect(isinstance(value, Mapping), value, "a mapping")
    if wanted is bool:
        return _expect(isinstance(value, bool), value, "true or false")
    if wanted is str:
        return _expect(isinstance(value, str), value, "text")
    if wanted is int:
        whole = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
        return int(_expect(whole, value, "a whole number"))
    if wanted is float:
        return float(_expect(isinstance(value, (int, float)) and not isinstance(value, bool), value, "a number"))
    raise TypeError(f"a configuration field cannot have the type {wanted}")


def describe_type(wanted: Any) -> str:
    """A short name of a field's type for tables and messages: ``int``, ``float``, ``one of: none, rope``, ``list of int``."""
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) is typing.Literal:
        return str(arguments[0]) if len(arguments) == 1 else "one of: " + ", ".join(map(str, arguments))
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return " or ".join(describe_type(part) for part in arguments)
    if typing.get_origin(wanted) is list:
        return f"list of {describe_type(arguments[0])}"
    if wanted is dict or typing.get_origin(wanted) is dict:
        return "mapping"
    return {int: "int", float: "float", bool: "bool", str: "text", type(None): "null"}[wanted]


def _expect(condition: bool, value: Any, what: str) -> Any:
    if not condition:
        raise ValueError(f"expected {what}, got {value!r}")
    return value


def _convert_literal(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"expected one of {', '.join(map(str, allowed))}, got {value!r}")
    return value


def _convert_union(value: Any, parts: tuple[Any, ...]) -> Any:
    if value is None and type(None) in parts:
        return None
    problems = []
    for part in parts:
        if part is not type(None):
            try:
                return convert(value, part)
            except ValueError as error:
                problems.append(str(error))
    wanted = " or ".join(map(describe_type, parts))
    raise ValueError(problems[0] if len(problems) == 1 else f"expected {wanted}, got {value!r}")


def _convert_list(value: Any, item_type: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected a list, got {value!r}")
    return [convert(item, item_type) for item in value]
