"""A forecasting sweep over a CSV file on real Ray: searched lists under a stored budget, pictures in MLflow, a file that goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_sweeps import Finished, finished, run_sweep

from orchestrator.launch import LaunchOptions, SweepObserver, resume

pytestmark = pytest.mark.long

VALUES = 80
SPACE = {
    "name": "waves",
    "task": {"name": "forecasting", "csv": "waves.csv", "time_steps": {"choice": [8, 12]}},
    "model": {"dim": {"choice": [8, 16]}},
    "architectures": {
        "lstm": {"hidden_size": {"int": [3, 6]}},
        "grouped": {
            "architecture": "grouped_vq_mlp",
            "groups": {"list": {"int": [2, 64], "log": True}, "length": {"choice": [2, 4]}},
        },
        "levels": {"architecture": "hierarchical_vq_mlp", "levels": [{"int": [4, 64]}, "${levels[0] // 2}"]},
    },
    "training": {"lr": 1e-2, "epochs": 2},
    "constraints": {"params": {"scope": "stored", "min": 300, "max": 600}},
    "search": {"sampler": "tpe", "trials": 2},
}


@pytest.fixture(scope="module")
def sweep(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("waves")
    times = np.arange(VALUES) / 10
    rows = [f"{time:.1f},{value:.5f}" for time, value in zip(times, 20 + 5 * np.sin(times), strict=True)]
    (folder / "waves.csv").write_text("\n".join(["time (h),level (m)", *rows]) + "\n")
    return run_sweep(folder, SPACE)


def test_every_run_lies_in_the_stored_budget_and_is_measured_so(sweep: Finished) -> None:
    runs = sweep.data.state.runs.values()
    assert len(runs) == 6 and {run.outcome for run in runs} == {"completed"}
    assert all(300 <= run.metrics["params/stored"] <= 600 for run in runs)


def test_one_folder_of_data_serves_every_window(sweep: Finished) -> None:
    assert len(list(sweep.result.folder.artifacts.iterdir())) == 1


def test_each_run_has_its_pictures_in_mlflow(sweep: Finished) -> None:
    for run in sweep.children.values():
        found = {Path(file.path).name for file in sweep.client.list_artifacts(run.info.run_id, "exhibits")}
        codebooks = set() if run.data.tags["memsweep.entry"] == "lstm" else {"codebook_usage.png"}
        assert found == {"predictions.npz", "predictions.png"} | codebooks


def test_the_parent_has_the_report_with_a_summary_and_its_pictures(sweep: Finished) -> None:
    found = {file.path for file in sweep.client.list_artifacts(sweep.parent.info.run_id)}
    pictures = {"figure.png", "slices.png", "predictions.png", "codebook_usage.png", "pictures"}
    assert found == {"space.yaml", "table.md", "summary.md"} | pictures
    header, _, *rows = (sweep.result.folder.report / "summary.md").read_text().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        *("model", "loss", "persistence ratio", "stored", "lr", "picture")
    ]
    losses = [float(row.split("|")[2]) for row in rows[:3]]
    assert losses == sorted(losses)


def test_it_goes_on_without_its_file(sweep: Finished) -> None:
    folder = sweep.result.folder
    (folder.path.parent / "waves.csv").unlink()
    again = finished(resume(folder, 3, LaunchOptions(folder.path.parent, "waves"), SweepObserver()))
    assert len(again.children) == 9 and {run.outcome for run in again.data.state.runs.values()} == {"completed"}
