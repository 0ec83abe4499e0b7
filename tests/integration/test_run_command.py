"""``memsweep run`` as a person types it: few lines, a table, Ctrl-C, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_sweeps import small_space, write_space

from orchestrator import launch
from orchestrator.command_line.app import run as command
from orchestrator.launch import LaunchResult
from orchestrator.record import read_journal
from orchestrator.space.reading import read_search_space
from orchestrator.sweep.folder import SweepFolder

ONE_ENTRY = {"gpt": {"dk": {"int": [2, 12], "step": 2}, "dv": 8}}


def short_space(folder: Path, **sections: object) -> Path:
    defaults = {"architectures": ONE_ENTRY, "constraints": None, "search": {"sampler": "random", "trials": 2}}
    return write_space(folder, small_space(**(defaults | sections)))


def test_a_run_prints_a_line_a_run_and_the_table(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = short_space(tmp_path)
    assert command(["run", str(space), "--set", "training.epochs=1", "--set", "model.n_heads=1", "--name", "mine"]) == 0
    told = capfd.readouterr()
    assert told.err.splitlines()[1] == "mine: 2 runs, 2 at once"
    assert len(told.err.splitlines()) == 4 and all("completed at epoch 1" in line for line in told.err.splitlines()[2:])
    assert "| gpt " in told.out and len(told.out.splitlines()) <= 10
    assert "Traceback" not in told.err and "ray" not in told.out.lower() + "".join(told.err.splitlines()[1:]).lower()
    folder = tmp_path / "sweeps" / "mine"
    as_run = read_search_space(folder / "space.yaml")
    assert (as_run.document["training"]["epochs"], as_run.document["model"]["n_heads"]) == (1, 1)
    assert_refused_because_it_exists(space, capfd, folder)


def assert_refused_because_it_exists(space: Path, capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    before = (folder / "record.jsonl").read_bytes()
    assert command(["run", str(space), "--name", "mine"]) == 2
    told = capfd.readouterr()
    assert told.out == "" and "memsweep resume mine" in told.err and len(told.err.splitlines()) <= 3
    assert (folder / "record.jsonl").read_bytes() == before


@pytest.mark.parametrize(("interrupted", "failure", "status"), [(True, None, 130), (False, "no base model", 1)])
def test_what_to_type_next_names_the_tracking_store_without_its_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    interrupted: bool,
    failure: str | None,
    status: int,
) -> None:
    folder = SweepFolder(tmp_path / "mine")
    folder.report.mkdir(parents=True)
    (folder.report / "table.md").write_text("| gpt |")
    folder.record.touch()
    ended = LaunchResult(folder, 1, interrupted, 0, None, {}, failure)
    monkeypatch.setattr(launch, "resume", lambda *arguments: ended)
    uri = "http://me:pass-and-secret@mlflow.internal:5000"
    assert command(["resume", "mine", "--storage", str(tmp_path), "--tracking-uri", uri]) == status
    told = capsys.readouterr()
    assert "pass-and-secret" not in told.out + told.err
    assert f"memsweep resume {folder.path} --tracking-uri http://" in told.err and "@mlflow.internal:5000" in told.err


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"objective": {"metric": "vram/peak_reserved_mib", "mode": "min"}}, "memory/peak_host_mib"),
        ({"constraints": {"measured": [{"metric": "vram/peak_reserved_mib", "max": 1000}]}}, "memory/peak_host_mib"),
        ({"resources": {"cpu": 64}}, "lower `resources`"),
    ],
)
def test_what_the_cluster_has_not_is_refused_and_leaves_nothing(
    ray_session: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: dict[str, object], hint: str
) -> None:
    space = short_space(tmp_path, **change)
    assert command(["run", str(space), "--storage", str(tmp_path / "storage"), "--yes"]) == 2
    told = capfd.readouterr()
    assert hint in told.err and "Traceback" not in told.err and told.out == ""
    left = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert left == []


def test_ctrl_c_interrupts_and_nothing_reported_is_lost(tmp_path: Path) -> None:
    space = short_space(tmp_path, training={"lr": 0.001, "epochs": 1_000_000}, resources={"concurrency": 2})
    arguments = [sys.executable, "-m", "orchestrator", "run", str(space), "--storage", str(tmp_path / "storage"), "--yes"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(arguments, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True)
    record = tmp_path / "storage" / "small" / "record.jsonl"
    try:
        wait_for_results(record, process)
        # A terminal sends Ctrl-C to every process of the group, workers included.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    output_lines = (tmp_path / "output").read_text().splitlines()
    assert len(output_lines) <= 15 and not [line for line in output_lines if "Traceback" in line or "ray::" in line], output_lines
    assert any(line.startswith("interrupted: ") for line in output_lines)
    assert_interrupted(record)


def test_ctrl_c_while_ray_starts_leaves_nothing(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "orchestrator", "run", str(short_space(tmp_path)), "--storage", str(tmp_path / "storage")]
    process = subprocess.Popen([*arguments, "--yes"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("preparing")
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert process.stderr.read() == "interrupted\n"
    assert not (tmp_path / "storage").exists()


def wait_for_results(record: Path, process: subprocess.Popen[bytes]) -> None:
    """Until both runs have reported."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        events = read_journal(record) if record.exists() else []
        if len({event["run"] for event in events if event["kind"] == "result"}) == 2:
            return
        time.sleep(0.2)
    raise AssertionError("the sweep did not come as far as two results")


def assert_interrupted(record: Path) -> None:
    events = read_journal(record)
    (end,) = (event for event in events if event["kind"] == "end")
    assert end["interrupted"] is True
    outcomes = {event["run"]: event["outcome"] for event in events if event["kind"] == "outcome"}
    assert outcomes == {"gpt-0000-s0": "interrupted", "gpt-0001-s0": "interrupted"}
    last = {event["run"]: event["progress"] for event in events if event["kind"] == "result"}
    client = MlflowClient(f"sqlite:///{record.parent.parent / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert {run.info.status for run in runs} == {"KILLED"} and len(runs) == 3
    for run in runs:
        if run.data.tags["memsweep.kind"] == "run":
            steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "val/loss")]
            assert sorted(steps) == list(range(1, last[run.data.tags["memsweep.run"].rpartition("/")[2]] + 1))
            assert run.data.tags["outcome"] == "interrupted"
