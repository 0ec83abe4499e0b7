"""A run whose data were made from a file: again from the sweep's data, from the file where those are gone, else refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from in_process_sweep import change_record, command

from orchestrator.launch import LaunchOptions
from orchestrator.launch.new_sweep import _header
from orchestrator.record import Journal, checked_events
from orchestrator.space.reading import read_search_space
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.inputs import prepare_inputs
from orchestrator.sweep.telemetry import NoTelemetry
from trainables.file_fields import FileGone
from trainables.training.worker import RunWorker

RUN = "lstm-0000-s0"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "series.csv"
    path.write_text("".join(["time,value\n", *(f"{hour},{hour % 7}\n" for hour in range(40))]))
    return path


@pytest.fixture
def sweep(csv: Path, tmp_path: Path) -> SweepFolder:
    """One trained run of two epochs; the file is opened by the driver alone."""
    import torch

    space = tmp_path / "space.yaml"
    space.write_text(
        "task: {name: forecasting, csv: series.csv, time_steps: 4}\narchitectures: {lstm: {hidden_size: 2}}\n"
        "training: {epochs: 2}\nsearch: {trials: 1}\n"
    )
    folder = SweepFolder(tmp_path / "sweeps" / "small")
    folder.path.mkdir(parents=True)
    specification = read_search_space(space)
    with Journal(folder.record) as journal:
        journal.append(_header(specification, LaunchOptions(folder.path.parent, folder.name)))
        prepare_inputs(specification, folder)
        away = csv.rename(csv.with_suffix(".away"))
        controller = SweepController(specification, folder, journal, NoTelemetry(), events=checked_events(folder.record))
        while request := controller.next_run():
            worker = RunWorker(torch.device("cpu"))
            worker.start(request)
            while controller.on_result(request.run, worker.advance()):
                pass
            worker.stop()
        away.rename(csv)
    assert controller.state.runs[RUN].outcome == "completed"
    return folder


def reproduced(sweep: SweepFolder) -> int:
    return command(f"{sweep.path}/{RUN}")


def test_the_file_is_not_needed_while_its_data_are_there(
    sweep: SweepFolder, csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv.unlink()
    assert reproduced(sweep) == 0 and "bit for bit" in capsys.readouterr().out


def test_data_that_are_gone_are_made_from_the_file_again(
    sweep: SweepFolder, csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(sweep.artifacts)
    assert reproduced(sweep) == 0 and "bit for bit" in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "time,value\n0,1\n"])
def test_without_data_and_file_nothing_is_run(text: str | None, sweep: SweepFolder, csv: Path) -> None:
    shutil.rmtree(sweep.artifacts)
    csv.unlink() if text is None else csv.write_text(text)
    with pytest.raises(FileGone, match=r"series\.csv"):
        reproduced(sweep)


def test_a_record_that_does_not_know_the_file_makes_no_data(sweep: SweepFolder) -> None:
    shutil.rmtree(sweep.artifacts)
    other = {"other.csv": {"reference": "other.csv#sha256=0123456789abcdef", "path": "/nowhere/other.csv"}}

    def without(event: dict[str, object]) -> dict[str, object]:
        if event["kind"] == "sweep":
            space = str(event["space"]).replace("series.csv", "other.csv")
            return {**event, "files": other, "space": space}
        return event

    change_record(sweep, without)
    with pytest.raises(FileGone, match="the data made from `series"):
        reproduced(sweep)
