"""The search space of a sweep, as its record holds it; ``space.yaml`` in its folder is a copy to read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from orchestrator.space.reading import read_search_space_text
from orchestrator.space.specification import SweepSpecification, renamed
from orchestrator.sweep.folder import SweepFolder
from trainables.files import NamedFile

Events = Sequence[Mapping[str, Any]]
_EDITIONS = ("sweep", "edit")
"""Events that hold a space."""


class SpaceChangedByHand(Exception):
    """The copy of the search space in a sweep's folder is not what the record says."""


def space_as_run(specification: SweepSpecification) -> str:
    """The text of a search space, or, where it was changed on the command line, what it came to."""
    if specification.changed:
        return yaml.safe_dump(dict(specification.document), sort_keys=False, allow_unicode=True)
    return specification.source.text


def write_space(folder: SweepFolder, text: str) -> None:
    """Writes ``space.yaml``, whole or not at all, also where the power fails."""
    partial = folder.space.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder.space)


def recorded_specification(folder: SweepFolder, events: Events, trials: int | None = None) -> SweepSpecification:
    """The sweep as it was run or edited last, with ``trials`` (else the last total given) of each study.

    Files are what the record says of them; none is opened.
    """
    total = trials or last_total(events)
    overrides = [f"search.trials={total}"] if total else []
    last = next(event for event in reversed(events) if event["kind"] in _EDITIONS)
    specification = read_search_space_text(last["space"], str(folder.space), overrides, recorded_files(last))
    return renamed(specification, events[0]["name"])


def files_as_recorded(specification: SweepSpecification) -> dict[str, Any]:
    """What an event says of the files of its space, under ``files`` and by the text that was written; nothing without any."""
    files = {
        # A name whose bytes are no text would make the line unreadable.
        written: {
            "reference": named.reference,
            "path": str(named.path).encode(errors="replace").decode(),
            **({"described": dict(named.described)} if named.described else {}),
        }
        for written, named in specification.named_files.items()
    }
    return {"files": files} if files else {}


def recorded_files(event: Mapping[str, Any]) -> dict[str, NamedFile]:
    """The files of a space, by the text that was written, from the event that holds the space."""
    files = event.get("files", {})
    return {
        written: NamedFile(named["reference"], Path(named["path"]), _described(named.get("described")))
        for written, named in files.items()
    }


def _described(told: Any) -> dict[str, dict[str, Any]]:
    """What an event says that configurations take from a file; what has another form counts as absent, and is looked up again."""
    told = told if isinstance(told, dict) else {}
    return {place: values for place, values in told.items() if isinstance(values, dict)}


def paths_of_all_editions(events: Events) -> dict[str, Path]:
    """The path of each file that the space or an earlier edition of it names, by its reference."""
    editions = [recorded_files(event) for event in events if event["kind"] in _EDITIONS]
    return {named.reference: named.path for files in editions for named in files.values()}


def restore_copy(folder: SweepFolder, events: Events) -> None:
    """Makes ``space.yaml`` the recorded space where a crash left an earlier edition of it, or none.

    Raises:
        SpaceChangedByHand: it was edited in place; such an edit must be told, so that it can be recorded.
    """
    editions = _editions(events)
    # Bytes: read as text, a file with the line ends of Windows is not what was written.
    found = folder.space.read_bytes() if folder.space.exists() else None
    if found not in (None, *(edition.encode() for edition in editions)):
        raise SpaceChangedByHand(
            f"{folder.space} is not the space that the record holds: copy it elsewhere and give the copy as "
            f"`memsweep resume {folder.path} --space COPY.yaml`; deleting it restores the recorded one"
        )
    if found != editions[-1].encode():
        write_space(folder, editions[-1])


def last_total(events: Events) -> int | None:
    """The total of trials that the latest resumption or edit gave, if any since the last edit."""
    total = None
    for event in events:
        if event["kind"] == "edit":
            total = event["trials"]
        elif event["kind"] == "resume":
            total = event["trials"] or total
    return total


def _editions(events: Events) -> list[str]:
    return [event["space"] for event in events if event["kind"] in _EDITIONS]
