"""Architectures and tasks in the order in which the interface names them, which no import order changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from orchestrator.document import did_you_mean
from trainables.architecture import Architecture
from trainables.registry import RESERVED_ARCHITECTURES, RESERVED_TASKS, architectures, tasks
from trainables.task import Task

T = TypeVar("T")


def available_architectures() -> dict[str, Architecture]:
    return _ordered(architectures(), RESERVED_ARCHITECTURES)


def available_tasks() -> dict[str, type[Task]]:
    return _ordered(tasks(), RESERVED_TASKS)


def unavailable_names() -> dict[str, list[str]]:
    """Names that are reserved and not built yet, under ``architectures`` and ``tasks``."""
    return {
        "architectures": [name for name in RESERVED_ARCHITECTURES if name not in architectures()],
        "tasks": [name for name in RESERVED_TASKS if name not in tasks()],
    }


def unknown_name(what: str, name: str, known: Iterable[str], reserved: Iterable[str]) -> str:
    """Says that an architecture's or a task's name is unknown, or not available yet."""
    if name in reserved:
        return f"the {what} `{name}` is not available yet (available: {', '.join(known)})"
    return f"unknown {what} `{name}`: {suggestion(name, known)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """What was probably meant, or all that is known where nothing is alike."""
    names = list(known)
    near = did_you_mean(name, names)
    return f"did you mean `{near}`?" if near else f"known: {', '.join(names)}"


def _ordered(found: Mapping[str, T], reserved: tuple[str, ...]) -> dict[str, T]:
    first = [name for name in reserved if name in found]
    return {name: found[name] for name in [*first, *sorted(set(found) - set(first))]}
