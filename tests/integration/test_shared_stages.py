"""Base models and datastores on real Ray: made once before the runs, named by all of them, resumable where making them ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_sweeps import Finished, finished, run_sweep, write_space

from orchestrator.command_line.app import run as command
from orchestrator.launch import LaunchOptions, SweepObserver, resume
from orchestrator.record import read_journal
from orchestrator.report.shared import shared_json
from orchestrator.sweep.folder import SweepFolder

TRAINING = {"lr": 3e-3, "epochs": 1}
BASE: dict[str, Any] = {
    **{"architecture": "gpt", "dim": 16, "n_layers": 1, "n_heads": 1, "dk": 16, "dv": 16, "use_ffn": True},
    "training": TRAINING,
}
TASK: dict[str, Any] = {
    **{"name": "language_modeling", "corpus": "facts", "input_seq_len": 32, "segments": 2},
    **{"train_tokens": 2048, "fit_tokens": 256, "val_tokens": 256, "test_tokens": 256},
}
KNN_LM = {"knn_weight": {"float": [0.0, 0.9]}}
ADAPTER = {"hidden": {"choice": [8, 16]}, "training": {"lr": 1e-3, "epochs": 1}}
STAGES = {"base", "datastore", "neighbors-val", "neighbors-fit"}
"""Made for these entries, perhaps among others."""


def language_space(entries: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {
        "name": "shared",
        "task": TASK,
        "model": {"base": {**BASE, "training": {**TRAINING, **training}}, "n_neighbors": 8},
        "architectures": entries,
        "objective": {"metric": "val/perplexity"},
        "search": {"sampler": "random", "trials": 2},
    }


@pytest.fixture(scope="module")
def sweep(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_sweep(tmp_path_factory.mktemp("shared"), language_space({"knn_lm": KNN_LM, "knn_adapter": ADAPTER}))


def kind_of(stage: str) -> str:
    return stage.rpartition("-")[0]


def test_each_stage_is_made_once_and_before_the_first_run(sweep: Finished) -> None:
    events = read_journal(sweep.result.folder.record)
    made = [place for place, event in enumerate(events) if event["kind"] == "prepared"]
    started = [place for place, event in enumerate(events) if event["kind"] == "start"]
    kinds = [kind_of(events[place]["stage"]) for place in made]
    assert set(kinds) >= STAGES and len(set(kinds)) == len(kinds)
    assert len(started) == 4 and max(made) < min(started)
    assert {run.outcome for run in sweep.data.state.runs.values()} == {"completed"}
    folders = {path.name for path in sweep.result.folder.artifacts.iterdir() if not path.name.startswith("language_modeling-")}
    assert folders == {events[place]["stage"] for place in made}, "nothing is left of what was under way"


def test_every_run_names_the_stages_that_it_used(sweep: Finished) -> None:
    used = {run.id: {kind_of(name): name for name in run.provenance["stages"].split()} for _, run in sweep.data.kept_runs}
    assert len(used) == 4
    for stage in ("base", "datastore", "neighbors-val"):
        assert len({stages[stage] for stages in used.values()}) == 1
    for run, child in sweep.children.items():
        tags = {name.removeprefix("memsweep.shared."): value for name, value in child.data.tags.items() if ".shared." in name}
        assert tags == used[run]
        assert child.data.params["base"].startswith("{architecture: gpt, dim: 16,")


def test_the_report_and_the_sweep_in_mlflow_tell_what_making_them_cost(sweep: Finished) -> None:
    rows = {kind_of(row["stage"]): row for row in shared_json(sweep.data)}
    assert rows.keys() >= STAGES
    assert rows["base"]["title"] == "base model gpt" and rows["base"]["runs"] == 4
    assert rows["base"]["entries"] == ["knn_lm", "knn_adapter"] and rows["neighbors-fit"]["entries"] == ["knn_adapter"]
    assert all(row["metrics"]["time/total_s"] > 0 and row["bytes"] > 0 for row in rows.values())
    assert rows["datastore"]["bytes"] > TASK["train_tokens"] * (2 * 16 + 4)
    assert all(row["stage"] in (sweep.result.folder.report / "table.md").read_text() for row in rows.values())
    for row in rows.values():
        assert sweep.parent.data.tags[f"memsweep.shared.{row['stage']}"].startswith(f"{row['title']}: ")


def test_a_second_sweep_beside_it_makes_nothing_again(sweep: Finished) -> None:
    document = {**language_space({"knn_lm": {"knn_weight": 0.5}}), "name": "second"}
    second = run_sweep(sweep.result.folder.path.parent, document)
    (run,) = second.data.state.runs.values()
    assert run.outcome == "completed"
    assert run.provenance["stages"] in {run.provenance["stages"] for _, run in sweep.data.kept_runs}
    for pattern in ("base-*/model.safetensors", "datastore-*/keys.npy", "neighbors-val-*/indices.npy"):
        (linked,) = second.result.folder.artifacts.glob(pattern)
        (made,) = sweep.result.folder.artifacts.glob(pattern)
        assert linked.samefile(made)
    costs = [{row["stage"]: row["metrics"] for row in shared_json(one.data)} for one in (sweep, second)]
    assert costs[1].items() <= costs[0].items(), "what making them cost is told where they are used, too"


def test_a_base_that_diverges_ends_the_sweep_which_goes_on_with_another_base(
    ray_session: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    space = write_space(tmp_path, language_space({"knn_lm": KNN_LM}, lr=1e6, epochs=3))
    assert command(["run", str(space), "--storage", str(tmp_path), "--yes"]) == 1
    told = capfd.readouterr().err
    assert "the base model gpt could not be made" in told and "diverged" in told and "Traceback" not in told
    folder = SweepFolder(tmp_path / "shared")
    assert not any(event["kind"] == "start" for event in read_journal(folder.record))
    assert command(["resume", str(folder.path)]) == 1, "the same base diverges again"
    edited = tmp_path / "edited.yaml"
    edited.write_text(yaml.safe_dump(language_space({"knn_lm": KNN_LM})))
    assert command(["resume", str(folder.path), "--space", str(edited)]) == 0
    resumed = finished(resume(folder, None, LaunchOptions(tmp_path, folder.name), SweepObserver()))
    assert [run.outcome for run in resumed.data.state.runs.values()] == ["completed"] * 2
    assert {run.info.status for run in resumed.mlflow_runs} == {"FINISHED"}


@pytest.mark.long
@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_sweep_that_ends_while_its_base_is_trained_is_resumed(
    ray_session: None, tmp_path: Path, ending: signal.Signals, status: int
) -> None:
    space = write_space(tmp_path, language_space({"knn_lm": KNN_LM}, epochs=30))
    arguments = [sys.executable, "-m", "orchestrator", "run", str(space), "--storage", str(tmp_path), "--yes"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, start_new_session=True)
    folder = SweepFolder(tmp_path / "shared")
    try:
        wait_for_base(folder, process)
        os.killpg(process.pid, ending)
        assert process.wait(120) == status, (tmp_path / "output").read_text()
    finally:
        process.kill()
        process.wait()
    resumed = finished(resume(folder, None, LaunchOptions(tmp_path, folder.name), SweepObserver()))
    assert [run.outcome for run in resumed.data.state.runs.values()] == ["completed"] * 2
    assert {run.info.status for run in resumed.mlflow_runs} == {"FINISHED"}
    made = [path.name for path in folder.artifacts.iterdir()]
    assert sum("base-" in name for name in made) == 1 and not any(name.startswith(("unfinished-", ".")) for name in made)


def wait_for_base(folder: SweepFolder, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if list(folder.artifacts.glob(".base-*")):
            return
        time.sleep(0.05)
    raise AssertionError("the base was not begun")
