"""A head that is lost, and another machine that goes on from the storage alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from small_stored import NAME, SPACE, Machine, kill, wait_until, write_space

EPOCHS = SPACE["training"]["epochs"]


def checkpoints(bucket: Path) -> list[Path]:
    return sorted((bucket / NAME / "trials").glob("*/attempts/*/checkpoint-*.pt"))


def recorded_in(bucket: Path) -> int:
    """The last step that the record in the storage knows of a run that has not ended."""
    steps = [0]
    for segment in (bucket / NAME / "record").glob("*.jsonl"):
        for text in segment.read_text().splitlines():
            event = json.loads(text)
            if event["kind"] == "outcome":
                steps = [0]
            if event["kind"] == "result":
                steps.append(event["progress"])
    return steps[-1]


@pytest.mark.timeout(600)
def test_a_sweep_goes_on_from_its_storage_on_another_machine(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    first, second = Machine(tmp_path / "first", bucket.as_uri()), Machine(tmp_path / "second", bucket.as_uri())
    process = first.start("run", str(write_space(tmp_path)), "--yes", "--storage", first.uri)
    try:
        wait_until(lambda: recorded_in(bucket) >= 2 and checkpoints(bucket), process)
    finally:
        kill(process)
    shutil.rmtree(first.home)
    status, output = second.run("resume", f"{second.uri}/{NAME}", "--take-over")
    assert status == 0, output
    continued = [event["continued_from"] for event in second.events("begin") if event["continued_from"]]
    assert continued and continued[0] >= 2, "it went on from a checkpoint of the first machine"
    assert_whole(second)
    segments = sorted((bucket / NAME / "record").iterdir())
    assert len({path.name.split(".")[1] for path in segments}) == 2, "each driver has written its own"
    published = sorted(path.relative_to(bucket / NAME / "trials").as_posix() for path in (bucket / NAME / "trials").rglob("*.pt"))
    assert published == [f"gpt-000{number}-s0/checkpoint.pt" for number in range(3)]
    assert (bucket / NAME / "report" / "table.md").is_file() and (bucket / NAME / "space.yaml").is_file()
    assert bucket.name.encode() not in (second.sweep / "record.jsonl").read_bytes(), "the record does not know where it is kept"


def assert_whole(machine: Machine) -> None:
    """Every run completed once, without a gap and without a step told twice."""
    outcomes = [event for event in machine.events("outcome") if event["outcome"] == "completed"]
    assert len(outcomes) == 3 == len({event["run"] for event in outcomes})
    for run in {event["run"] for event in outcomes}:
        steps = [event["progress"] for event in machine.events("result") if event["run"] == run and event["progress"]]
        assert steps == list(range(1, EPOCHS + 1)), run


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_third_machine_reads_the_sweep_and_writes_nothing(tmp_path: Path) -> None:
    uri = (tmp_path / "bucket").as_uri()
    driver, reader = Machine(tmp_path / "driver", uri), Machine(tmp_path / "reader", uri)
    status, output = driver.run("run", str(write_space(tmp_path)), "--yes", "--storage", uri)
    assert status == 0, output
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "bucket").rglob("*")}
    status, output = reader.run("report", NAME, "--storage", uri, "--json")
    assert status == 0 and len(json.loads(output)["trials"]) == 3, output
    status, output = reader.run("reproduce", f"{uri}/{NAME}/gpt-0000-s0", "--steps", "1")
    assert status == 0, output
    status, output = reader.run("run", str(tmp_path / "small.yaml"), "--yes", "--storage", uri)
    assert status == 2 and re.search(r"exists in file://.*memsweep resume file://", output), output
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "bucket").rglob("*")} == before
    status, output = reader.run("sync", f"{uri}/{NAME}", "--all")
    assert status == 0 and "everything that small recorded is in MLflow" in output, output
