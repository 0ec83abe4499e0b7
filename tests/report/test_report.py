"""Tables, JSON and figures of sweeps with one objective and with several, and of sweeps whose space was edited."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from recorded_sweeps import THREE, TWO, RecordedSweep, add_points

from orchestrator.record import JournalError
from orchestrator.report.collect import SweepData, best_trials, front_trials
from orchestrator.report.front_table import front_table
from orchestrator.report.pictures.overview import draw_figure
from orchestrator.report.table import result_table
from orchestrator.report.write import report_json, report_markdown, write_report

GPT = [(0.5, 3000.0), (0.9, 9000.0), (0.6, 9500.0)]
UNIFIED = [(0.7, 2000.0), (0.9, 8000.0)]


def cells(data: SweepData) -> dict[str, dict[str, str]]:
    """The result table by row and column."""
    table = result_table(data)
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


@pytest.fixture
def two(tmp_path: Path) -> SweepData:
    """The front is gpt-0001's rival unified_kv-0001 with the same accuracy, and the small unified_kv-0000."""
    sweep = RecordedSweep(tmp_path / "two", TWO)
    add_points(sweep, "gpt", GPT)
    add_points(sweep, "unified_kv", UNIFIED)
    sweep.trial("gpt", None, [({}, {})])
    return sweep.load()


def test_a_row_shows_the_best_by_the_first_objective_with_a_column_for_each(two: SweepData) -> None:
    shown = cells(two)
    assert len(set(result_table(two).header)) == len(result_table(two).header)
    assert shown["gpt"] | {"val/accuracy": "0.9", "params/total": "9,000", "on front": "no"} == shown["gpt"]
    assert shown["unified_kv"]["val/accuracy"] == "0.9" and shown["unified_kv"]["on front"] == "yes"
    assert (shown["gpt"]["trials"], shown["gpt"]["dk"], shown["gpt"]["du"]) == ("3 completed, 1 failed", "16", "–")
    assert "val/accuracy (larger is better)" in result_table(two).note and "params/total (smaller" in result_table(two).note


def test_the_front_has_a_table_of_its_own(two: SweepData) -> None:
    table = front_table(two)
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [row["trial"] for row in rows] == ["unified_kv-0001", "unified_kv-0000"]
    assert [(row["val/accuracy"], row["params/total"], row["du"]) for row in rows] == [
        ("0.9", "8,000", "16"),
        ("0.7", "2,000", "8"),
    ]
    assert len(set(table.header)) == len(table.header)
    assert report_markdown(two) == f"{result_table(two).markdown()}\nPareto front\n\n{table.markdown()}"


def test_the_json_names_the_front_the_objectives_and_the_values(two: SweepData) -> None:
    document = json.loads(json.dumps(report_json(two)))
    assert document["pareto"] == ["unified_kv-0001", "unified_kv-0000"]
    assert document["objectives"] == [
        {"metric": "val/accuracy", "mode": "max", "at": "last"},
        {"metric": "params/total", "mode": "min", "at": "last"},
    ]
    assert document["best"]["gpt"]["values"] == {"val/accuracy": 0.9, "params/total": 9000.0}
    assert {run["trial"] for run in document["trials"]} >= set(document["pareto"])


def test_of_one_objective_the_report_has_no_front_table(tmp_path: Path) -> None:
    sweep = RecordedSweep(tmp_path / "one")
    curves = {"val/accuracy": [0.2, 0.9, 0.8]}
    sweep.trial("gpt", [0.8], [(curves, {"params/total": 5.0})])
    data = sweep.load()
    assert "on front" not in result_table(data).header and "Pareto" not in report_markdown(data)
    assert (cells(data)["gpt"]["val/accuracy"], cells(data)["gpt"]["best step"]) == ("0.8", "0.9")
    assert {path.name for path in write_report([data.folder], tmp_path / "out")} == {
        *("table.md", "table.csv", "report.json", "figure.png")  # one trial makes no slice
    }


def test_each_objective_is_a_mean_over_the_seeds_as_it_is_defined(tmp_path: Path) -> None:
    """``at: best`` holds for the third objective alone; parameter counts have no curve."""
    sweep = RecordedSweep(tmp_path / "three", THREE, replicates=2)
    runs = [
        ({"val/accuracy": [0.5, 0.4], "val/loss": [1.0, 2.0]}, {"params/total": 7.0}),
        ({"val/accuracy": [0.1, 0.6], "val/loss": [3.0, 1.5]}, {"params/total": 7.0}),
    ]
    sweep.trial("gpt", [0.5, 7.0, 1.25], runs)
    (best,) = best_trials(sweep.load())
    assert [measured.value for measured in best.objectives] == [0.5, 7.0, 1.25]
    assert [measured.spread for measured in best.objectives] == pytest.approx([0.2**0.5 / 10**0.5, 0.0, 0.125**0.5])
    assert best.first.best_value == pytest.approx(0.55)


def test_trials_that_an_edited_space_leaves_out_are_counted_but_not_shown(tmp_path: Path) -> None:
    sweep = RecordedSweep(tmp_path / "edited", TWO)
    small, large, poor = add_points(sweep, "gpt", GPT)
    home = {"study": "gpt", "space": "gpt", "drawn": {"dk": 8}, "runs": {}}
    space = sweep.folder.space.read_text()
    kept = {small: {**home, "values": list(GPT[0])}, poor: {**home, "values": list(GPT[2])}}
    sweep.event(kind="edit", space=space, trials=None, kept=kept)
    data = sweep.load()
    assert cells(data)["gpt"]["val/accuracy"] == "0.6" and cells(data)["gpt"]["trials"] == "2 completed"
    assert [summary.trial.id for summary in front_trials(data)] == [poor, small]
    assert "1 trial of earlier editions of the space lies outside it and is not shown." in result_table(data).note
    assert {run["trial"]: run["kept"] for run in report_json(data)["trials"]} == {small: True, large: False, poor: True}
    assert draw_figure(data, tmp_path / "figure.png")


def test_a_change_by_hand_of_the_copy_of_the_space_changes_no_report(tmp_path: Path) -> None:
    sweep = RecordedSweep(tmp_path / "changed", TWO)
    add_points(sweep, "gpt", GPT[:1])
    sweep.folder.space.write_text(sweep.folder.space.read_text().replace(TWO, "{metric: val/accuracy}"))
    assert len(sweep.load().modes) == 2


def test_a_record_that_does_not_fit_its_space_is_refused_with_the_cure(tmp_path: Path) -> None:
    sweep = RecordedSweep(tmp_path / "unfit", "{metric: val/accuracy}")
    sweep.trial("gpt", (0.5, 1.0), [({"val/accuracy": [0.5]}, {})])
    with pytest.raises(JournalError, match=r"gpt-0000 has 2 values for 1 objectives; restore the file"):
        sweep.load()


def test_files_of_a_report_with_two_objectives(two: SweepData, tmp_path: Path) -> None:
    written = {path.name: path for path in write_report([two.folder], tmp_path / "out")}
    assert written.keys() == {"table.md", "table.csv", "pareto.csv", "report.json", "figure.png", "slices.png"}
    with written["pareto.csv"].open(newline="") as opened:
        assert [row["trial"] for row in csv.DictReader(opened)] == ["unified_kv-0001", "unified_kv-0000"]
    assert png_size(written["figure.png"])[0] > png_size_of_one_objective(tmp_path)


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def png_size_of_one_objective(folder: Path) -> int:
    sweep = RecordedSweep(folder / "narrow")
    sweep.trial("gpt", [0.8], [({"val/accuracy": [0.2, 0.8]}, {"memory/peak_host_mib": 400.0})])
    assert draw_figure(sweep.load(), folder / "narrow.png")
    return png_size(folder / "narrow.png")[0]


def test_without_a_completed_trial_there_is_a_table_but_no_figure(tmp_path: Path) -> None:
    sweep = RecordedSweep(tmp_path / "none", TWO)
    sweep.trial("gpt", None, [({}, {})])
    data = sweep.load()
    assert cells(data)["gpt"]["trials"] == "1 failed" and front_table(data).rows == []
    assert not draw_figure(data, tmp_path / "figure.png") and not (tmp_path / "figure.png").exists()
    assert report_json(data)["pareto"] == [] and "Pareto front" in report_markdown(data)
