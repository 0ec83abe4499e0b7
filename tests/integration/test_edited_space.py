"""``resume --space`` and ``search.warm_start`` on real Ray, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_sweeps import Finished, finished, run_sweep, small_space, write_space

from orchestrator.command_line.app import run as command
from orchestrator.launch import LaunchResult
from orchestrator.record import read_journal
from orchestrator.report.collect import load_sweep


@pytest.fixture(scope="module")
def sweep(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    document = small_space(training={"lr": {"float": [1e-3, 1e-2], "log": True}, "batch_size": 32, "epochs": 2})
    document["architectures"].pop("unified_kv")
    return run_sweep(tmp_path_factory.mktemp("edited"), document)


def test_an_edited_space_keeps_its_trials_and_goes_on(sweep: Finished, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = sweep.result.folder
    before = read_journal(folder.record)
    document = yaml.safe_load(folder.space.read_text())
    document["architectures"]["gpt"]["dk"] = {"int": [2, 16], "step": 2}
    document["architectures"]["unified_kv"] = {"du": {"int": [2, 16], "step": 2}}
    document["search"]["trials"] = 3
    edited = write_space(tmp_path, document | {"name": "edited"})
    assert command(["resume", str(folder.path), "--space", str(edited)]) == 0
    told = capfd.readouterr().err
    assert "gpt.dk: int [2, 12] step 2 -> int [2, 16] step 2 (wider)" in told
    assert "+ entry unified_kv" in told and "search.trials: 2 -> 3" in told
    assert "gpt: 2 of 2 trials stay" in told and "delta_net: 2 of 2 trials stay" in told
    after = read_journal(folder.record)
    assert after[: len(before)] == before, "the record is only added to"
    starts = [event["run"] for event in after if event["kind"] == "start"]
    assert len(starts) == len(set(starts)) == 3 + 3 + 3, "a trial that was kept ran again"
    whole = finished(LaunchResult(folder, 0, False, 0, None, {}))
    assert {run.info.status for run in whole.children.values()} == {"FINISHED"}
    assert folder.space.read_text() == edited.read_text()


def test_a_copy_that_was_edited_in_place_is_not_taken_for_the_space(sweep: Finished, capfd: pytest.CaptureFixture[str]) -> None:
    folder = sweep.result.folder
    text = folder.space.read_text()
    folder.space.write_text(text + "\n# mine\n")
    try:
        assert command(["resume", str(folder.path)]) == 2
        assert "--space COPY.yaml" in capfd.readouterr().err
    finally:
        folder.space.write_text(text)


def test_a_wrong_edit_changes_nothing(sweep: Finished, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = sweep.result.folder
    before = folder.record.read_bytes()
    document = yaml.safe_load(folder.space.read_text())
    document["constraints"]["params"]["target"] = 7
    assert command(["resume", str(folder.path), "--space", str(write_space(tmp_path, document))]) == 2
    document["constraints"]["paramz"] = {}
    assert command(["resume", str(folder.path), "--space", str(write_space(tmp_path, document))]) == 2
    assert "did you mean `params`" in capfd.readouterr().err
    assert folder.record.read_bytes() == before


def test_a_sweep_that_is_told_an_earlier_one(sweep: Finished, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    storage = sweep.result.folder.path.parent
    document = yaml.safe_load(sweep.result.folder.space.read_text()) | {"name": "warm"}
    document["search"] = {"sampler": "tpe", "trials": 1, "warm_start": ["small"]}
    space = write_space(tmp_path, document)
    assert command(["run", str(space), "--storage", str(storage), "--yes"]) == 0
    assert "the sampler is told" in capfd.readouterr().err
    data = load_sweep(type(sweep.result.folder)(storage / "warm"))
    assert all(len(study.trials) == 1 for study in data.state.studies.values())
    (warm,) = data.state.warm
    assert warm["source"] == "small" and len(warm["trials"]) >= 6
    document["search"]["warm_start"] = ["never-run"]
    assert command(["run", str(write_space(tmp_path, document | {"name": "cold"})), "--storage", str(storage), "--yes"]) == 2
    assert "no sweep `never-run`" in capfd.readouterr().err and not (storage / "cold").exists()
