"""A record whose checksums are right and whose content is a stranger's: refused with its line, whatever it says."""

from __future__ import annotations

import copy
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.record import JournalError, checked_events
from orchestrator.record.journal import _SEPARATOR, encode
from orchestrator.record.validation import KINDS
from orchestrator.sweep.state import SweepState
from orchestrator.tracking.operations import Operation, decode
from orchestrator.tracking.operations import encode as encode_operation
from orchestrator.tracking.spool import Spool

TOLD = {"state": "COMPLETE", "values": [0.5], "intermediate": {"1": 0.5}, "constraints": {}}
SUGGESTION = {
    **{
        "kind": "suggestion",
        "study": "gpt",
        "number": 0,
        "trial": "gpt-0000",
        "answered_by": None,
        "space": "gpt",
        "entry": "gpt",
    },
    **{"architecture": "gpt", "drawn": {"dk": 8}, "configuration": {"model": {"dk": 8}, "task": {}, "training": {}}},
    **{"fingerprint": "0123456789abcdef", "task": "mqar", "runs": {"gpt-0000-s0": 0}},
}
ANSWERED = {**SUGGESTION, "number": 1, "trial": None, "answered_by": "gpt-0000", "runs": {}}
HOME = {"study": "gpt", "space": "gpt", "drawn": {"dk": 8}, "values": [0.5], "runs": {"gpt-0000-s1": 1}}
EARLIER = {"architecture": "gpt", "configuration": SUGGESTION["configuration"], "told": TOLD}
EVENTS: list[dict[str, Any]] = [
    {
        "kind": "sweep",
        "name": "a",
        "identity": "0123456789ab",
        "format": 1,
        "version": "0.1.0",
        "own_tracking": False,
        "task": "mqar",
        "space": "",
    },
    {"kind": "warm_start", "source": "b", "objectives": ["max val/accuracy last"], "trials": [EARLIER], "outside": 0},
    SUGGESTION,
    {"kind": "start", "run": "gpt-0000-s0"},
    {"kind": "begin", "run": "gpt-0000-s0", "continued_from": 0, "provenance": {"torch": "2.13.0"}},
    {"kind": "tracking", "run": "gpt-0000-s0", "tracking_id": "0123456789abcdef0123456789abcdef"},
    {"kind": "result", "run": "gpt-0000-s0", "progress": 1, "metrics": {"val/accuracy": 0.5}, "last": True, "time": 1.5},
    {"kind": "warning", "run": "gpt-0000-s0", "message": "disk full"},
    {"kind": "outcome", "run": "gpt-0000-s0", "outcome": "completed", "error": None},
    {"kind": "trial_end", "trial": "gpt-0000", "outcome": "completed", "values": [0.5]},
    {"kind": "told", "study": "gpt", "number": 0, "told": TOLD},
    ANSWERED,
    {"kind": "told", "study": "gpt", "number": 1, "told": TOLD},
    {"kind": "exhausted", "study": "gpt"},
    {"kind": "resume", "trials": None, "version": "0.1.0"},
    {"kind": "edit", "space": "", "trials": None, "kept": {"gpt-0000": HOME}},
    {
        "kind": "prepared",
        "stage": "base-0123456789abcdef",
        "title": "base model gpt",
        "metrics": {"time/total_s": 1.5},
        "bytes": 9,
    },
    {"kind": "end", "interrupted": False},
    {
        "kind": "retry",
        "run": "gpt-0000-s0",
        "needed_mib": 1234.5,
        "error": {"type": "OutOfMemoryError", "message": "", "traceback": ""},
    },
]


def record(path: Path, events: list[Any]) -> Path:
    path.write_bytes(b"".join(event if isinstance(event, bytes) else encode(event) for event in events))
    return path


def sealed(body: str) -> bytes:
    """A line of any content with the right checksum."""
    content = body.encode("utf-8", "surrogatepass")[:-1]
    return content + _SEPARATOR + f"{zlib.crc32(content):08x}".encode() + b'"}\n'


def refusal(path: Path, events: list[Any]) -> str:
    with pytest.raises(JournalError) as refused:
        checked_events(record(path, events))
    return str(refused.value)


def test_a_record_of_every_kind_of_event_is_read(tmp_path: Path) -> None:
    assert checked_events(record(tmp_path / "record.jsonl", EVENTS)) == EVENTS
    assert {event["kind"] for event in EVENTS} == set(KINDS)


def test_every_kind_that_the_state_takes_is_checked_and_no_other() -> None:
    assert set(KINDS) == {name.removeprefix("_on_") for name in dir(SweepState) if name.startswith("_on_")}


HOSTILE_IDENTIFIERS = [
    "",
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    ".x",
    "-x",
    "a\0",
    "a\n",
    "x" * 256,
    "a'b",
    "%2e",
    "a\u2215b",
    7,
    None,
    [],
    {},
]


TEXTS = {("sweep", "space"), ("edit", "space")}
"""Here ``space`` is the text of the search space."""


def _places() -> list[tuple[int, str]]:
    keys = (
        "run",
        "trial",
        "study",
        "space",
        "entry",
        "architecture",
        "fingerprint",
        "task",
        "identity",
        "name",
        "tracking_id",
        "answered_by",
    )
    return [
        (index, key)
        for index, event in enumerate(EVENTS)
        for key in keys
        if event.get(key) is not None and (event["kind"], key) not in TEXTS
    ]


@pytest.mark.parametrize(("index", "key"), _places())
def test_a_hostile_identifier_is_refused_wherever_it_stands(tmp_path: Path, index: int, key: str) -> None:
    for hostile in HOSTILE_IDENTIFIERS:
        events = copy.deepcopy(EVENTS)
        events[index][key] = hostile
        if hostile is None and (events[index]["kind"], key) == ("tracking", "run"):
            continue
        offset = sum(len(encode(event)) for event in events[:index])
        assert f"line {index + 1} (byte {offset})" in refusal(tmp_path / "record.jsonl", events), hostile


@pytest.mark.parametrize("index", range(len(EVENTS)))
def test_an_event_without_one_of_its_keys_is_refused(tmp_path: Path, index: int) -> None:
    for key in ("kind", *KINDS[EVENTS[index]["kind"]]):
        events = copy.deepcopy(EVENTS)
        del events[index][key]
        assert f"line {index + 1} " in refusal(tmp_path / "record.jsonl", events)


def changed(index: int, **values: Any) -> Callable[[list[Any]], None]:
    return lambda events: events[index].update(values)


WRONG: list[tuple[Callable[[list[Any]], None], str]] = [
    (changed(0, format=2), "the record has the format 2, this memsweep reads 1: update it"),
    (changed(3, kind="__class__"), "unknown kind of event '__class__'; written by a newer memsweep?"),
    (changed(3, kind=["start"]), "unknown kind of event"),
    (changed(3, run="gpt-0001-s0"), "the run `gpt-0001-s0` is not there"),
    (changed(9, trial="gpt-0001"), "the trial `gpt-0001` is not there"),
    (changed(8, outcome="won"), "`outcome` cannot have outcome = 'won'"),
    (changed(8, error={"type": "E"}), "`outcome` cannot have error"),
    (changed(6, progress=-1), "`result` cannot have progress = -1"),
    (changed(6, progress=True), "`result` cannot have progress = True"),
    (changed(6, metrics={"val/loss": "1"}), "`result` cannot have metrics"),
    (changed(6, metrics={"val/loss": 2**70}), "it holds an infinite number"),
    (changed(10, number=5), "the study `gpt` has no suggestion 5 that waits for its end"),
    (changed(12, number=0), "the study `gpt` has no suggestion 0 that waits for its end"),
    (changed(10, told={**TOLD, "state": "RUNNING"}), "`told` cannot have told"),
    (changed(10, told={**TOLD, "intermediate": {"x": 1}}), "`told` cannot have told"),
    (changed(11, number=0), "the study `gpt` has a second suggestion 0"),
    (changed(11, answered_by="gpt-0001"), "the trial `gpt-0001` is not there"),
    (changed(11, trial="gpt-0000", answered_by=None), "the trial `gpt-0000` is there twice"),
    (changed(11, trial="gpt-0001", answered_by=None, runs={"gpt-0000-s0": 0}), "the run `gpt-0000-s0` is there twice"),
    (changed(11, answered_by=None), "either is a trial or is answered by one"),
    (changed(2, runs={"../../x": 0}), "`suggestion` cannot have runs"),
    (changed(2, configuration={"model": {}}), "`suggestion` cannot have configuration"),
    (changed(15, kept={"gpt-0009": HOME}), "the trial `gpt-0009` is not there"),
    (changed(15, kept={"gpt-0000": {**HOME, "runs": {"../x": 1}}}), "`edit` cannot have kept"),
    (lambda events: events.insert(3, EVENTS[0]), "a record begins with an event `sweep`, and has one"),
    (lambda events: events.pop(0), "a record begins with an event `sweep`, and has one"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_an_event_that_says_what_none_can_say_is_refused(
    tmp_path: Path, change: Callable[[list[Any]], None], message: str
) -> None:
    events = copy.deepcopy(EVENTS)
    change(events)
    assert message in refusal(tmp_path / "record.jsonl", events)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"kind":"end","x":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"kind":"end","interrupted":false,"x":' + "[" * 100 + "]" * 100 + "}", "nested deeper than 64 levels"),
        ('{"kind":"end","interrupted":false,"x":1e999}', "it holds an infinite number"),
        ('{"kind":"end","interrupted":false,"x":NaN}', "NaN is no JSON"),
        ('{"kind":"end","interrupted":false,"x":' + "9" * 5000 + "}", "is no event"),
        ('{"kind":"end","interrupted":false,"x":"\\ud800"}', "half a character"),
        ('{"kind":"end","interrupted":false,"x":"\ud800"}', "is no event"),
        ("[1,2]", "is no event"),
        ("{}", "unknown kind of event None"),
        ("{\0}", "is no event"),
    ],
    ids=range(10),
)
def test_json_that_is_a_weapon_is_refused(tmp_path: Path, body: str, message: str) -> None:
    started = time.process_time()
    assert message in refusal(tmp_path / "record.jsonl", [EVENTS[0], sealed(body)])
    assert time.process_time() - started < 5


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = record(tmp_path / "record.jsonl", EVENTS)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + 200 * 2**20)
    with pytest.raises(JournalError, match=f"line {len(EVENTS) + 1} .*longer than 32 MiB"):
        checked_events(path)


def test_an_empty_record_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "the sweep never began; delete its folder" in refusal(tmp_path / "record.jsonl", [])


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just("gpt-0000"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_an_event_it_is_applied_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What passes the checks never makes the state stumble."""
    events = copy.deepcopy(EVENTS)
    event = events[data.draw(st.integers(0, len(events) - 1))]
    keys = data.draw(st.lists(st.sampled_from(sorted(event)), min_size=1, max_size=2))
    for key in keys:
        event[key] = data.draw(ANY_JSON)
    folder = tmp_path_factory.mktemp("record")
    try:
        found = checked_events(record(folder / "record.jsonl", events))
    except (JournalError, UnicodeEncodeError):
        return
    SweepState(["val/accuracy"]).apply_all(found)


# The spool.


def artifact(path: Path | str, target: str | None = None) -> Operation:
    return Operation("artifact", "s/1", 1, {"local_path": str(path), "artifact_path": target})


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "sweep" / "spool").mkdir(parents=True)
    return Spool(tmp_path / "sweep" / "spool")


def test_an_artifact_outside_the_sweep_is_rejected_and_the_rest_delivered(tmp_path: Path, spool: Spool) -> None:
    secret, home = tmp_path / "secret", tmp_path / "sweep"
    secret.write_text("a key")
    (home / "table.md").write_text("results")
    (home / "link.md").symlink_to(secret)
    (home / "folder").mkdir()
    (home / "folder" / "inner").symlink_to(tmp_path)
    (home / "loop").symlink_to(home / "loop")
    outside = [
        secret,
        home / ".." / "secret",
        home / "link.md",
        home / "folder",
        home / "loop",
        "/etc/passwd",
        "../secret",
        "a\0b",
    ]
    for path in (*outside, home / "table.md"):
        spool.append(artifact(path))
    spool.rotate()
    (segment,) = spool.closed_segments()
    kept = spool.read(segment).operations
    assert kept == [artifact(home / "table.md")]
    assert spool.pending == 1
    rejected = (spool.folder / "rejected.jsonl").read_text().splitlines()
    assert len(rejected) == len(outside) and all("outside the sweep's folder" in line or "followed" in line for line in rejected)
    spool.discard(segment, len(kept))
    assert spool.pending == 0
    spool.close()


HOSTILE_OPERATIONS: list[tuple[Any, ...]] = [
    ("artifact", "s/1", 1, {"local_path": "x", "artifact_path": "../../x"}),
    ("artifact", "s/1", 1, {"local_path": "x", "artifact_path": "/etc"}),
    ("artifact", "s/1", 1, {"local_path": "x", "artifact_path": "a%2e%2e"}),
    ("artifact", "s/1", 1, {"local_path": ["x"], "artifact_path": None}),
    ("tags", "s' OR '1'='1", 1, {"tags": {}}),
    ("tags", "s/1", "now", {"tags": {}}),
    ("tags", "s/1", 1, {"tags": {"a": 1}}),
    ("tags", "s/1", 1, []),
    ("metrics", "s/1", 1, {"values": {"a": "1"}, "step": 1}),
    ("metrics", "s/1", 1, {"values": {"a": 1.0}, "step": 1.5}),
    ("metrics", "s/1", 1, {"values": [], "step": 1}),
    ("open", "s/1", 1, {"name": "n", "parent": "a'b", "tags": {}, "params": {}}),
    ("open", "s/1", 1, {"name": "n", "tags": {}, "params": {}}),
    ("close", "s/1", 1, {"status": "DELETED"}),
    ("delete", "s/1", 1, {}),
    (["open"], "s/1", 1, {}),
    (None, None, None, None),
]


@pytest.mark.parametrize("fields", HOSTILE_OPERATIONS, ids=range(len(HOSTILE_OPERATIONS)))
def test_an_operation_that_none_can_ask_for_is_dropped(fields: tuple[Any, ...]) -> None:
    assert decode(encode_operation(Operation(*fields))[:-1]) is None


def test_hostile_operations_count_as_damaged(tmp_path: Path) -> None:
    lines = [encode_operation(Operation(*fields)) for fields in HOSTILE_OPERATIONS]
    (tmp_path / "00000000.jsonl").write_bytes(
        b"".join(lines) + encode_operation(Operation("tags", "s/1", 1, {"tags": {"a": "b"}}))
    )
    spool = Spool(tmp_path)
    assert (spool.pending, spool.damaged) == (1, len(HOSTILE_OPERATIONS))
    spool.close()
