"""What changed between two search spaces in meaning, not in text: comments, order and where a field is written do not count."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from orchestrator.expression import Expression, parse
from orchestrator.space.assignment import Field
from orchestrator.space.constraint import Budget
from orchestrator.space.description import describe_budget, describe_plain, describe_value
from orchestrator.space.dimension import ChoiceDimension, Dimension, FloatDimension, IntegerDimension
from orchestrator.space.membership import draws_of, same_value
from orchestrator.space.reading.value import Gridded
from orchestrator.space.sections import SECTIONS, MeasuredConfiguration, SchedulerConfiguration
from orchestrator.space.specification import EntrySpecification, SweepSpecification
from orchestrator.space.value import Computed, Constant, ExpressionGuard, Listing, Repeated, Searched, Value
from trainables.files import identity

_SCHEDULER_OPTIONS = {
    "none": (),
    "asha": ("grace_period", "reduction_factor", "brackets"),
    "median": ("grace_period", "min_samples"),
}
"""What each stopping rule looks at."""
_ENUMERATED = 10_000
"""Ranges of more values are compared by their ends and steps."""

Fields = Mapping[str, Field]


def describe_difference(before: SweepSpecification, after: SweepSpecification) -> list[str]:
    """A line for each change, such as ``gpt.dk: int [8, 96] -> int [8, 128] (wider)``; none where both mean the same.

    A field that changed alike in all entries that both sweeps have is one line under ``model``, ``task`` or ``training``. The
    name of a sweep is no part of its meaning.
    """
    return [
        *_task_lines(before, after),
        *_entry_lines(before, after),
        *_field_lines(before, after),
        *_constraint_lines(before, after),
        *_objective_lines(before, after),
        *_section_lines(before, after),
    ]


# Entries and fields.


def _task_lines(before: SweepSpecification, after: SweepSpecification) -> Iterator[str]:
    if before.task_type.name != after.task_type.name:
        yield f"task: {before.task_type.name} -> {after.task_type.name}"


def _entry_lines(before: SweepSpecification, after: SweepSpecification) -> Iterator[str]:
    old, new = _entries(before), _entries(after)
    yield from (f"+ entry {name} (architecture {entry.architecture})" for name, entry in new.items() if name not in old)
    yield from (f"- entry {name}" for name in old if name not in new)
    for name in old:
        if name in new and old[name].architecture != new[name].architecture:
            yield f"entry {name}: architecture {old[name].architecture} -> {new[name].architecture}"


def _field_lines(before: SweepSpecification, after: SweepSpecification) -> Iterator[str]:
    """Each change of a field once, with the entries that it concerns."""
    old, new = _entries(before), _entries(after)
    fields = {entry: (_fields(old[entry]), _fields(new[entry])) for entry in old if entry in new}
    changes: dict[tuple[str, str, str], list[str]] = {}
    for entry, (was, now) in fields.items():
        for name in (*was, *(name for name in now if name not in was)):
            if change := _field_change(was.get(name), now.get(name)):
                changes.setdefault((name, *change), []).append(entry)
    for (name, sign, told), changed in changes.items():
        having = [entry for entry, (was, now) in fields.items() if name in was or name in now]
        yield f"{sign}{_label(name, changed, having)}: {told}"


def _label(name: str, changed: list[str], having: list[str]) -> str:
    """``training.lr`` for a change in all entries that have the field, ``gpt.dk`` or ``gpt.dk, lstm.dk`` for one in some."""
    shared = name if "." in name else f"model.{name}"
    if changed == having and (len(having) > 1 or "." in name):
        return shared
    return ", ".join(f"{entry}.{name}" for entry in changed)


def _field_change(was: Field | None, now: Field | None) -> tuple[str, str] | None:
    """(sign, change), or None where there is nothing to say; a default that comes with another architecture is not said."""
    if was is None or now is None:
        described, sign = (now, "+ ") if was is None else (was, "- ")
        return (sign, describe_value(described.value)) if described is not None and described.written else None
    if not (was.written or now.written) or same_meaning(_identified(was), _identified(now)):
        return None
    note = _note(was.value, now.value)
    return "", f"{describe_value(was.value)} -> {describe_value(now.value)}{f' ({note})' if note else ''}"


def _entries(specification: SweepSpecification) -> dict[str, EntrySpecification]:
    return {entry.name: entry for entry in specification.entries}


def _fields(entry: EntrySpecification) -> dict[str, Field]:
    """The fields of an entry with its cells put together again."""
    first = entry.cells[0]
    return {
        name: dataclasses.replace(field, value=_gridded(entry, name)) if name in first.grid else field
        for name, field in first.fields.items()
    }


def _gridded(entry: EntrySpecification, name: str) -> Gridded:
    values = {describe_plain(cell.grid[name]): cell.grid[name] for cell in entry.cells}
    return Gridded(name, tuple(values.values()))


# Values.


def same_meaning(was: Value, now: Value) -> bool:
    """Whether two values of a field can be the same and are searched alike; the order of choices does not count."""
    return bool(_meaning(was) == _meaning(now))


def _meaning(value: Value) -> Any:
    """A hashable form that is equal for values of the same meaning."""
    match value:
        case Constant():
            return ("constant", _plain_meaning(value.value))
        case Computed():
            return ("computed", _expression_meaning(value.expression))
        case Searched():
            return _searched_meaning(value)
        case Gridded():
            return ("grid", frozenset(map(_plain_meaning, value.choices)))
        case Listing():
            return ("listing", tuple(map(_meaning, value.items)))
        case Repeated():
            return ("repeated", _meaning(value.items[0]), _meaning(value.length), value.equal)
    raise TypeError(f"no meaning of {type(value).__name__}")


def _searched_meaning(searched: Searched) -> Any:
    guards, dimension = _guards(searched), searched.dimension
    if dimension.size == 1 and not searched.guards:
        return ("constant", _plain_meaning(dimension.column(np.arange(1)).tolist()[0]))
    if isinstance(dimension, ChoiceDimension):
        return ("choice", frozenset(map(_plain_meaning, dimension.choices)), guards)
    distribution: Any = dimension.distribution
    kind = "float" if isinstance(dimension, FloatDimension) else "int"
    # A range ends at its last value: [8, 99] in steps of 13 is [8, 86].
    return (kind, distribution.low, distribution.high, dimension.step, dimension.log, guards)


def _plain_meaning(value: Any) -> Any:
    if isinstance(value, bool):
        return ("truth", value)
    if isinstance(value, (list, tuple)):
        return ("list", tuple(map(_plain_meaning, value)))
    if isinstance(value, Mapping):
        return ("mapping", frozenset((key, _plain_meaning(item)) for key, item in value.items()))
    return identity(value) if isinstance(value, str) else value


def _expression_meaning(expression: Expression) -> Any:
    """The syntax tree without its places, so that spaces and brackets around nothing do not count."""
    return _term_meaning(expression.root)


def _term_meaning(term: Any) -> Any:
    if isinstance(term, tuple):
        return tuple(map(_term_meaning, term))
    if not dataclasses.is_dataclass(term):
        return (type(term), term)
    parts = (_term_meaning(getattr(term, field.name)) for field in dataclasses.fields(term) if field.name != "offset")
    return (type(term), *parts)


def _identified(field: Field) -> Value:
    """The value of a field; mappings that describe another model as what they mean, since defaults may be written or not."""
    mean, value = field.hyperparameter.identity, field.value
    if field.hyperparameter.nested is None:
        return value
    match value:
        case Constant():
            return Constant(mean(value.value))
        case Gridded():
            return dataclasses.replace(value, choices=tuple(map(mean, value.choices)))
        case Searched(dimension=ChoiceDimension() as dimension):
            meant = dataclasses.replace(dimension, choices=tuple(map(mean, dimension.choices)))
            return dataclasses.replace(value, dimension=meant)
    return value


def _note(was: Value, now: Value) -> str:
    """What a change does to the search, in a word or two; empty where the two forms say it all."""
    if isinstance(now, Gridded) or isinstance(was, Gridded):
        return _choice_note(_finite(was), _finite(now))
    if isinstance(was, Searched) and isinstance(now, Searched):
        return _dimension_note(was.dimension, now.dimension) if _guards(was) == _guards(now) else ""
    if isinstance(was, Searched) and isinstance(now, Constant):
        return "fixed"
    return "searched" if isinstance(was, Constant) and isinstance(now, Searched) else ""


def _guards(searched: Searched) -> frozenset[Any]:
    return frozenset(_expression_meaning(g.expression) for g in searched.guards if isinstance(g, ExpressionGuard))


def _dimension_note(was: Dimension, now: Dimension) -> str:
    if isinstance(was, ChoiceDimension) and isinstance(now, ChoiceDimension):
        return _choice_note(was.choices, now.choices)
    grows, shrinks = _covers(now, was), _covers(was, now)
    if grows and shrinks:
        return "the same values"
    return "wider" if grows else "narrower" if shrinks else ""


def _choice_note(was: tuple[Any, ...] | None, now: tuple[Any, ...] | None) -> str:
    if was is None or now is None:
        return ""
    added = [describe_plain(value) for value in now if not any(same_value(value, other) for other in was)]
    dropped = [describe_plain(value) for value in was if not any(same_value(value, other) for other in now)]
    told = (("adds", added), ("drops", dropped))
    return "; ".join(f"{verb} {', '.join(values)}" for verb, values in told if values)


def _finite(value: Value) -> tuple[Any, ...] | None:
    """The values of a grid, a choice or a constant; None for anything else."""
    match value:
        case Constant(value=constant):
            return (constant,)
        case Gridded(choices=choices) | Searched(dimension=ChoiceDimension(choices=choices)):
            return choices
    return None


def _covers(outer: Dimension, inner: Dimension) -> bool:
    """Whether ``outer`` can draw all that ``inner`` can."""
    if 0 < inner.size <= _ENUMERATED:
        return all(draws_of(outer, value) for value in inner.column(np.arange(inner.size)).tolist())
    if isinstance(inner, ChoiceDimension) or isinstance(outer, ChoiceDimension):
        return False
    ends: Any = inner.distribution
    if not (draws_of(outer, ends.low) and draws_of(outer, ends.high)):
        return False
    if isinstance(outer, FloatDimension) and outer.step is None:
        return True
    return isinstance(inner, IntegerDimension) and isinstance(outer, IntegerDimension) and inner.step % outer.step == 0


# Constraints.


def _constraint_lines(before: SweepSpecification, after: SweepSpecification) -> Iterator[str]:
    yield from _budget_lines(before.spaces[0].budget, after.spaces[0].budget)
    yield from _require_lines(before.require_holds_for, after.require_holds_for)
    old, new = [_describe_measured(line) for line in before.measured], [_describe_measured(line) for line in after.measured]
    yield from _added_and_dropped("constraints.measured", old, new)


def _budget_lines(was: Budget | None, now: Budget | None) -> Iterator[str]:
    if was == now:
        return
    if was is None or now is None:
        old, new = ([describe_budget(budget)] if budget else [] for budget in (was, now))
        yield from _added_and_dropped("constraints.params", old, new)
        return
    note = ""
    if was.scope == now.scope:
        note = " (wider)" if _window_covers(now, was) else " (narrower)" if _window_covers(was, now) else ""
    yield f"constraints.params: {describe_budget(was)} -> {describe_budget(now)}{note}"


def _window_covers(outer: Budget, inner: Budget) -> bool:
    ends = ((outer.low, inner.low), (outer.high, inner.high))
    return all(end is None or (other is not None and bool(outer.holds(other))) for end, other in ends)


def _require_lines(before: Iterable[str], after: Iterable[str]) -> Iterator[str]:
    old = {_expression_meaning(parse(text)): text for text in before}
    new = {_expression_meaning(parse(text)): text for text in after}
    added = [text for meaning, text in new.items() if meaning not in old]
    dropped = [text for meaning, text in old.items() if meaning not in new]
    yield from _added_and_dropped("constraints.require", dropped, added)


def _describe_measured(line: MeasuredConfiguration) -> str:
    low = f" at least {describe_plain(line.min)}" if line.min is not None else ""
    high = f" at most {describe_plain(line.max)}" if line.max is not None else ""
    return f"{line.metric}{low}{' and' if low and high else ''}{high}"


def _added_and_dropped(place: str, was: list[str], now: list[str]) -> Iterator[str]:
    added, dropped = Counter(now) - Counter(was), Counter(was) - Counter(now)
    yield from (f"+ {place}: {text}" for text in added)
    yield from (f"- {place}: {text}" for text in dropped)


# Objectives and sections.


def _objective_lines(before: SweepSpecification, after: SweepSpecification) -> Iterator[str]:
    was, now = ([dataclasses.asdict(objective) for objective in sweep.objectives] for sweep in (before, after))
    if len(was) == len(now) == 1:
        yield from _changed_lines("objective", was[0], now[0])
    elif was != now:
        yield f"objective: {_describe_objectives(was)} -> {_describe_objectives(now)}"


def _describe_objectives(objectives: list[dict[str, Any]]) -> str:
    return " and ".join(", ".join(f"{value}" for value in objective.values()) for objective in objectives)


def _section_lines(before: SweepSpecification, after: SweepSpecification) -> Iterator[str]:
    for section in SECTIONS:
        if section == "objective":
            continue
        was, now = getattr(before, section), getattr(after, section)
        if section == "scheduler":
            yield from _scheduler_lines(was, now)
            continue
        was_values, now_values = was.to_values(), now.to_values()
        if section == "search":
            was_values["trials"], now_values["trials"] = before.trials_per_study, after.trials_per_study
        yield from _changed_lines(section, was_values, now_values)


def _scheduler_lines(was: SchedulerConfiguration, now: SchedulerConfiguration) -> Iterator[str]:
    if was.name != now.name:
        yield f"scheduler: {_describe_scheduler(was)} -> {_describe_scheduler(now)}"
        return
    yield from _changed_lines("scheduler", _scheduler_values(was), _scheduler_values(now))


def _scheduler_values(scheduler: SchedulerConfiguration) -> dict[str, Any]:
    return {name: getattr(scheduler, name) for name in _SCHEDULER_OPTIONS[scheduler.name]}


def _describe_scheduler(scheduler: SchedulerConfiguration) -> str:
    options = [f"{name} {describe_plain(value)}" for name, value in _scheduler_values(scheduler).items()]
    return f"{scheduler.name} ({', '.join(options)})" if options else scheduler.name


def _changed_lines(section: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in was:
        if not same_value(was[name], now[name]):
            yield f"{section}.{name}: {_plainly(was[name])} -> {_plainly(now[name])}"


def _plainly(value: Any) -> str:
    """Names of metrics and text as they are, since no kind of value has to be told apart here."""
    return value if isinstance(value, str) and value.isprintable() and value else describe_plain(value)
