"""What a record may say. A sweep's folder may come from a stranger: its checksums are right, and its content is still only data.

Whatever reads a record goes through :func:`checked_events`, so that no event can name a file outside the sweep's folder, refer to
what is not there, or hold what later code does not expect.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.outcome import OUTCOMES
from orchestrator.record.journal import CURE, JournalError, place, read_lines
from trainables.files import is_file_name, split_reference

RECORD_FORMAT = 1
DEEPEST = 64
"""Lists and mappings are nested at most so deep."""

# No separator of folders and no dot in front: an identifier names a file or folder beside the others, whatever is in it.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_BOUND = 2**63
Check = Callable[[Any], bool]
Reference = Callable[["_Known", Mapping[str, Any]], str | None]


def checked_events(path: Path) -> list[dict[str, Any]]:
    """All events of a record in order, each of a known kind, with what that kind needs; a torn last line is left out.

    Raises:
        JournalError: with the line, its byte, what is wrong and what to do.
    """
    known = _Known()
    events = []
    for number, (offset, event) in enumerate(read_lines(path), start=1):
        if problem := _problem(event, known, first=number == 1):
            raise JournalError(f"{place(path, number, offset)}: {problem}")
        events.append(event)
    if not events:
        raise JournalError(f"{path} is empty: the sweep never began; delete its folder and run it again")
    return events


class _Known:
    """What earlier events have named."""

    def __init__(self) -> None:
        self.trials: set[str] = set()
        self.runs: set[str] = set()
        self.suggested: dict[str, set[int]] = {}
        self.untold: set[tuple[str, int]] = set()

    def suggest(self, study: str, number: int) -> bool:
        """Takes a number in; False where the study has had it."""
        numbers = self.suggested.setdefault(study, set())
        fresh = number not in numbers
        numbers.add(number)
        self.untold.add((study, number))
        return fresh

    def add_runs(self, runs: Mapping[str, int]) -> str | None:
        """Takes runs in; the first that is there already."""
        twice = next((run for run in runs if run in self.runs), None)
        self.runs |= runs.keys()
        return twice


def _problem(event: dict[str, Any], known: _Known, first: bool) -> str | None:
    kind = event.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return f"unknown kind of event {kind!r:.80}; written by a newer memsweep? Update it, or {CURE}"
    if first != (kind == "sweep"):
        return f"a record begins with an event `sweep`, and has one; {CURE}"
    if kind == "sweep" and event.get("format") != RECORD_FORMAT:
        return f"the record has the format {event.get('format')!r:.40}, this memsweep reads {RECORD_FORMAT}: update it"
    if not _is_plain(event, DEEPEST):
        return f"it holds an infinite number, half a character, or values nested deeper than {DEEPEST} levels; {CURE}"
    for key, check in (KINDS[kind] | MORE.get(kind, {})).items():
        if key not in event and key in KINDS[kind]:
            return f"`{kind}` lacks `{key}`; {CURE}"
        if key in event and not check(event[key]):
            return f"`{kind}` cannot have {key} = {event[key]!r:.80}; {CURE}"
    refers = _REFERENCES.get(kind)
    problem = refers(known, event) if refers else None
    return f"{problem}; {CURE}" if problem else None


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return depth > 0 and all(_is_plain(key, 1) and _is_plain(inner, depth - 1) for key, inner in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(inner, depth - 1) for inner in value)
    return value is None or -_BOUND <= value < _BOUND


# Checks of single values.


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_reference(value: Any) -> bool:
    """Of a file: its name without a folder, and a digest."""
    name, digest = split_reference(value) if isinstance(value, str) else ("", None)
    return digest is not None and is_file_name(name)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_step(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 19


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _mapping_of(check: Check, key_check: Check = _is_text) -> Check:
    return lambda value: isinstance(value, dict) and all(map(key_check, value)) and all(map(check, value.values()))


def _one_of(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


def _shaped(**checks: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(key in value and check(value[key]) for key, check in checks.items())


_SEEDS = _mapping_of(_is_count, _is_identifier)
_VALUES = _optional(_list_of(_is_number))
_CONFIGURATION = _shaped(model=_is_mapping, task=_is_mapping, training=_is_mapping)
_ERROR = _optional(_shaped(type=_is_text, message=_is_text, traceback=_is_text))
_HOME = _shaped(study=_is_identifier, space=_is_identifier, drawn=_is_mapping, values=_VALUES, runs=_SEEDS)
_TOLD = _shaped(
    state=_one_of("COMPLETE", "PRUNED", "FAIL"),
    values=_VALUES,
    intermediate=_mapping_of(_is_number, _is_step),
    constraints=_mapping_of(_is_number),
)

_EARLIER = _shaped(architecture=_is_identifier, configuration=_CONFIGURATION, told=_TOLD)

KINDS: dict[str, dict[str, Check]] = {
    "sweep": {
        "name": _is_identifier,
        "identity": _is_identifier,
        "format": _is_count,
        "version": _is_text,
        "task": _is_identifier,
        "space": _is_text,
        "own_tracking": _is_flag,
    },
    "suggestion": {
        "study": _is_identifier,
        "number": _is_count,
        "trial": _optional(_is_identifier),
        "answered_by": _optional(_is_identifier),
        "space": _is_identifier,
        "entry": _is_identifier,
        "architecture": _is_identifier,
        "drawn": _is_mapping,
        "configuration": _CONFIGURATION,
        "fingerprint": _is_identifier,
        "task": _is_identifier,
        "runs": _SEEDS,
    },
    "exhausted": {"study": _is_identifier},
    "start": {"run": _is_identifier},
    "begin": {"run": _is_identifier, "continued_from": _is_count, "provenance": _mapping_of(_is_text)},
    "result": {"run": _is_identifier, "progress": _is_count, "metrics": _mapping_of(_is_number), "last": _is_flag},
    "retry": {"run": _is_identifier, "needed_mib": _is_number, "error": _ERROR},
    "outcome": {"run": _is_identifier, "outcome": _one_of(*OUTCOMES), "error": _ERROR},
    "trial_end": {"trial": _is_identifier, "outcome": _one_of(*OUTCOMES), "values": _VALUES},
    "told": {"study": _is_identifier, "number": _is_count, "told": _TOLD},
    "tracking": {"run": _optional(_is_identifier), "tracking_id": _is_identifier},
    "end": {"interrupted": _is_flag},
    "resume": {"trials": _optional(_is_count)},
    "edit": {"space": _is_text, "trials": _optional(_is_count), "kept": _mapping_of(_HOME, _is_identifier)},
    "warm_start": {"source": _is_text, "objectives": _list_of(_is_text), "trials": _list_of(_EARLIER)},
    "warning": {"run": _is_identifier, "message": _is_text},
    "prepared": {"stage": _is_identifier, "title": _is_text, "metrics": _mapping_of(_is_number), "bytes": _is_count},
}
"""What each kind of event must have; more may stand beside it."""

_FILES = _mapping_of(_shaped(reference=_is_reference, path=_is_path))
MORE: dict[str, dict[str, Check]] = {"sweep": {"files": _FILES}, "edit": {"files": _FILES}}
"""What may stand beside it and is checked where it does."""


# What an event refers to.


def _after_suggestion(known: _Known, event: Mapping[str, Any]) -> str | None:
    if not known.suggest(event["study"], event["number"]):
        return f"the study `{event['study']}` has a second suggestion {event['number']}"
    trial, answered_by = event["trial"], event["answered_by"]
    if (trial is None) == (answered_by is None):
        return "a suggestion either is a trial or is answered by one"
    if trial is None:
        return None if answered_by in known.trials else f"the trial `{answered_by}` is not there"
    if trial in known.trials:
        return f"the trial `{trial}` is there twice"
    known.trials.add(trial)
    twice = known.add_runs(event["runs"])
    return f"the run `{twice}` is there twice" if twice else None


def _after_edit(known: _Known, event: Mapping[str, Any]) -> str | None:
    known.suggested, known.untold = {}, set()
    for trial, home in event["kept"].items():
        if trial not in known.trials:
            return f"the trial `{trial}` is not there"
        known.suggest(home["study"], len(known.suggested.get(home["study"], ())))
        if twice := known.add_runs(home["runs"]):
            return f"the run `{twice}` is there twice"
    return None


def _after_told(known: _Known, event: Mapping[str, Any]) -> str | None:
    told = (event["study"], event["number"])
    if told not in known.untold:
        return f"the study `{told[0]}` has no suggestion {told[1]} that waits for its end"
    known.untold.remove(told)
    return None


def _needs_run(known: _Known, event: Mapping[str, Any]) -> str | None:
    return None if event["run"] is None or event["run"] in known.runs else f"the run `{event['run']}` is not there"


def _needs_trial(known: _Known, event: Mapping[str, Any]) -> str | None:
    return None if event["trial"] in known.trials else f"the trial `{event['trial']}` is not there"


_REFERENCES: dict[str, Reference] = {
    "suggestion": _after_suggestion,
    "edit": _after_edit,
    "told": _after_told,
    "trial_end": _needs_trial,
    **dict.fromkeys(("start", "begin", "result", "retry", "outcome", "tracking", "warning"), _needs_run),
}
