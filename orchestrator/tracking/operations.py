"""What the control loop asks of the tracking store, one line of text an operation, and how operations of a run merge."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from orchestrator.outcome import FinalStatus

OperationKind = Literal["open", "metrics", "tags", "close", "artifact"]

_LINE = '{{"crc32":"{checksum:08x}","operation":{body}}}\n'
_BODY_START = len(_LINE.format(checksum=0, body="")) - len("}\n")


@dataclass(frozen=True, slots=True)
class Operation:
    """One request for one run; ``timestamp_ms`` is when it was asked for (milliseconds since 1970), not when delivered."""

    kind: OperationKind
    run: str
    timestamp_ms: int
    payload: dict[str, Any] = field(default_factory=dict)


def encode(operation: Operation) -> bytes:
    """One line of JSON that carries a CRC-32 of its own operation.

    Raises:
        ValueError: if the payload holds a non-finite number.
    """
    body = json.dumps(
        [operation.kind, operation.run, operation.timestamp_ms, operation.payload], separators=(",", ":"), allow_nan=False
    )
    return _LINE.format(checksum=zlib.crc32(body.encode()), body=body).encode()


def decode(line: bytes) -> Operation | None:
    """The operation of one line without its newline, or None where the line is torn, damaged or says what none can say."""
    body = line[_BODY_START:-1]
    if line != _LINE.format(checksum=zlib.crc32(body), body=body.decode("ascii", "replace")).encode()[:-1]:
        return None
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return Operation(*fields) if _is_operation(fields) else None


# A spool may come with a stranger's sweep: its checksums are right, and its content is still only data.

_RUN_KEY = re.compile(r"[A-Za-z0-9._:/@+-]{1,250}")


def is_run_key(value: object) -> bool:
    """Whether this can name a run: it stands in a query to the store."""
    return isinstance(value, str) and _RUN_KEY.fullmatch(value) is not None


def _is_operation(fields: object) -> bool:
    if not isinstance(fields, list) or len(fields) != 4:
        return False
    kind, run, timestamp_ms, payload = fields
    known = isinstance(kind, str) and kind in _PAYLOADS and isinstance(payload, dict)
    return known and is_run_key(run) and _is_whole(timestamp_ms) and _PAYLOADS[kind](payload)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, [*value, *value.values()]))


def _are_metrics(value: object) -> bool:
    numbers = value.values() if isinstance(value, dict) else ()
    finite = all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < math.inf for n in numbers)
    return isinstance(value, dict) and finite and all(map(_is_text, value))


def _is_target(value: object) -> bool:
    """A folder of artifacts: None, or a path that stays inside the run's."""
    if value is None:
        return True
    if not isinstance(value, str) or re.search(r"[\x00-\x1f%#\\:]", value):
        return False
    return not {"..", "/"} & set(PurePosixPath(value).parts)


_PAYLOADS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "open": lambda payload: (
        _is_text(payload.get("name"))
        and "parent" in payload
        and (payload["parent"] is None or is_run_key(payload["parent"]))
        and _are_texts(payload.get("tags"))
        and _are_texts(payload.get("params"))
    ),
    "metrics": lambda payload: _are_metrics(payload.get("values")) and _is_whole(payload.get("step")),
    "tags": lambda payload: _are_texts(payload.get("tags")),
    "close": lambda payload: payload.get("status") in get_args(FinalStatus),
    "artifact": lambda payload: _is_text(payload.get("local_path")) and _is_target(payload.get("artifact_path")),
}

assert set(_PAYLOADS) == set(get_args(OperationKind))


def outside(operation: Operation, root: Path) -> str | None:
    """Why the file or folder of an artifact is no part of ``root``, links followed; None where it is, and for other operations.

    What is not there is no concern of this function's.
    """
    if operation.kind != "artifact":
        return None
    path, home = Path(operation.payload["local_path"]), root.resolve()
    try:
        linked = [inner for inner in path.rglob("*") if inner.is_symlink()] if path.is_dir() else []
        strays = [inner for inner in (path, *linked) if not inner.resolve().is_relative_to(home)]
    except (OSError, ValueError, RuntimeError) as error:
        return f"the path cannot be followed: {error}"
    return f"{strays[0]} lies outside the sweep's folder {home}: it is not uploaded" if strays else None


@dataclass(frozen=True, slots=True)
class Opening:
    """How a run is created if the store does not have it; ``parent`` is the parent's run key."""

    name: str
    parent: str | None
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One point of a metric's history."""

    name: str
    value: float
    timestamp_ms: int
    step: int


@dataclass(slots=True)
class RunUpdate:
    """Everything that one flush has to tell of one run; of several statuses the last one counts."""

    run: str
    timestamp_ms: int
    opening: Opening | None = None
    metrics: list[MetricValue] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: str | None = None
    status_ms: int = 0

    def add(self, operation: Operation) -> None:
        """Takes in one operation (artifacts travel on their own and are no part of an update)."""
        payload = operation.payload
        if operation.kind == "metrics":
            points = payload["values"].items()
            self.metrics += [MetricValue(name, value, operation.timestamp_ms, payload["step"]) for name, value in points]
        elif operation.kind == "tags":
            self.tags |= payload["tags"]
        elif operation.kind == "open":
            earlier = self.opening.tags if self.opening else {}
            self.opening = Opening(payload["name"], payload["parent"], earlier | payload["tags"])
            self.params |= payload["params"]
            self.status, self.status_ms = "RUNNING", operation.timestamp_ms
        elif operation.kind == "close":
            self.status, self.status_ms = payload["status"], operation.timestamp_ms


def merge(operations: Iterable[Operation]) -> list[RunUpdate]:
    """One update a run, in the order in which the runs first appear (so a parent precedes its children)."""
    updates: dict[str, RunUpdate] = {}
    for operation in operations:
        if operation.kind != "artifact":
            updates.setdefault(operation.run, RunUpdate(operation.run, operation.timestamp_ms)).add(operation)
    return list(updates.values())
