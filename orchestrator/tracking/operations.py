"""What the control loop asks of the tracking store, one line of text an operation, and how operations of a run merge."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

OperationKind = Literal["open", "reopen", "metrics", "tags", "close", "artifact"]

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
    """The operation of one line without its newline, or None where the line is torn or damaged."""
    body = line[_BODY_START:-1]
    if line != _LINE.format(checksum=zlib.crc32(body), body=body.decode("ascii", "replace")).encode()[:-1]:
        return None
    kind, run, timestamp_ms, payload = json.loads(body)
    return Operation(kind, run, timestamp_ms, payload) if kind in get_args(OperationKind) else None


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
            self.opening = Opening(payload["name"], payload["parent"], payload["tags"])
            self.params |= payload["params"]
        elif operation.kind in ("reopen", "close"):
            self.status, self.status_ms = payload.get("status", "RUNNING"), operation.timestamp_ms


def merge(operations: Iterable[Operation]) -> list[RunUpdate]:
    """One update a run, in the order in which the runs first appear (so a parent precedes its children)."""
    updates: dict[str, RunUpdate] = {}
    for operation in operations:
        if operation.kind != "artifact":
            updates.setdefault(operation.run, RunUpdate(operation.run, operation.timestamp_ms)).add(operation)
    return list(updates.values())
