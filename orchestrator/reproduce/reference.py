"""What RUN names on the command line: a run, found in the records, never by walking a path that a record gives."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.record import checked_events
from orchestrator.reproduce.recorded import RecordedRun, recorded_run
from orchestrator.sweep.folder import SweepFolder, find_sweep
from orchestrator.sweep.state import SweepState

_MOST_SHOWN = 5


class RunNotFound(LookupError):
    """No record has this run; the message says what is there."""


def find_run(reference: str, storage: Path) -> RecordedRun:
    """The run that RUN names: ``SWEEP/RUN``, a path ``<sweep>/trials/<run>``, or an MLflow run id.

    SWEEP is a folder or a name under ``storage``. A trial's id stands for its first run.

    Raises:
        RunNotFound: no record has it.
        FileNotFoundError: there is no such sweep.
        JournalError: the record is damaged.
    """
    sweep, slash, run = reference.rstrip("/").rpartition("/")
    if not slash:
        return _tracked_run(run, storage)
    folder = _folder_of_trials(Path(sweep)) or _folder_of_trials(storage / sweep) or find_sweep(sweep, storage)
    return _recorded(folder, checked_events(folder.record), run)


def _folder_of_trials(path: Path) -> SweepFolder | None:
    sweep = SweepFolder(path.parent)
    return sweep if path.name == sweep.trials.name and sweep.record.is_file() else None


def _recorded(folder: SweepFolder, events: Sequence[Mapping[str, Any]], name: str) -> RecordedRun:
    """The run, or the first run of the trial, of this name."""
    state = SweepState([]).apply_all(events)
    of_trial = state.trials[name].runs if name in state.trials else []
    found = next((run for run in (name, *of_trial) if run in state.runs), None)
    if found is None:
        raise RunNotFound(f"the sweep `{folder.name}` has no run `{name}`; {_there(name, list(state.runs))}")
    return recorded_run(folder, state, events, found)


def _there(name: str, runs: list[str]) -> str:
    if not runs:
        return "it has none at all"
    close = difflib.get_close_matches(name[:128], runs, n=_MOST_SHOWN, cutoff=0.5) or runs[:_MOST_SHOWN]
    more = "" if len(close) == len(runs) else f" (of {len(runs)}; all: `memsweep report SWEEP --json`)"
    return f"there are: {', '.join(close)}{more}"


def _tracked_run(tracking_id: str, storage: Path) -> RecordedRun:
    """The run with this MLflow run id. Records that do not hold the text are not read any further."""
    for path in sorted(storage.glob("*/record.jsonl")) if tracking_id else ():
        if tracking_id.encode(errors="replace") not in path.read_bytes():
            continue
        events = checked_events(path)
        found = [event["run"] for event in events if event["kind"] == "tracking" and event["tracking_id"] == tracking_id]
        if found and found[-1] is None:
            raise RunNotFound(f"`{tracking_id}` is the MLflow run of the whole sweep `{path.parent.name}`: name one of its runs")
        if found:
            return _recorded(SweepFolder(path.parent), events, found[-1])
    raise RunNotFound(
        f"no run `{tracking_id}` in the records under {storage}: write SWEEP/RUN, such as quickstart/gpt-0000-s0, "
        "or an MLflow run id with --storage"
    )
