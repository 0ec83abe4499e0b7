"""What is measured by position in the sequence, and of each part of the data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from recorded_sweeps import RecordedSweep
from recorded_tasks import MeasuredTask

from orchestrator.report.collect import SweepData
from orchestrator.report.parts import part_tables
from orchestrator.report.pictures.positions import draw_positions, positions_figure
from orchestrator.report.positions import position_curves, position_table
from orchestrator.report.table import result_table
from orchestrator.report.write import write_report
from trainables import registry

SPACE = """
name: recorded
task: {name: measured, train_length: 64}
architectures:
ENTRIES
training: {lr: 0.001, epochs: 1}
objective: {metric: val/loss, mode: min}
search: {sampler: grid, replicates: 2}
"""
SEGMENTS = 64


def recorded(path: Path, losses: dict[str, float], segments: int = SEGMENTS) -> SweepData:
    """An entry for each loss, with two runs that are a nat apart and rise along 128 tokens."""
    entries = "\n".join(f"  {name}: {{architecture: gpt, task: {{val_length: 128}}}}" for name in losses)
    sweep = RecordedSweep(path, space=SPACE.replace("ENTRIES", entries))
    constant = {"task.train_length": 64, "task.val_length": 128, "training.lr": 0.001, "training.epochs": 1}
    for name, loss in losses.items():
        runs = []
        for value in (loss - 0.5, loss + 0.5):
            by_segment = {f"val/segment_loss/{index:02d}": value + 0.01 * index for index in reversed(range(segments))}
            subjects = {"val/accuracy": 0.75, "val/boolq/accuracy": 0.5, "val/copa/accuracy": 1.0}
            majority = {"val/majority": 0.5, "val/boolq/majority": 0.5, "val/copa/majority": 1 / value}
            runs.append(({"val/loss": [value]}, {**by_segment, **subjects, **majority}))
        sweep.trial(name, [loss], runs, {}, constant)
    return sweep.load()


@pytest.fixture(autouse=True)
def measured_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.tasks(), "measured", MeasuredTask)


def test_a_curve_has_the_mean_over_seeds_at_the_end_of_each_segment(tmp_path: Path) -> None:
    second, first = position_curves(recorded(tmp_path / "s", {"worse": 3.0, "better": 2.0}), "val/segment_loss")[::-1]
    assert (first.row, second.row) == ("better", "worse")
    assert [end for end, _ in first.points] == [2.0 * (index + 1) for index in range(SEGMENTS)]
    assert [value for _, value in first.points] == pytest.approx([2.0 + 0.01 * index for index in range(SEGMENTS)])


def test_many_positions_do_not_flood_the_table_of_results(tmp_path: Path) -> None:
    data = recorded(tmp_path / "s", {"gpt": 2.0})
    assert not [title for title in result_table(data).header if "segment" in title or "boolq" in title]
    written = {path.name: path for path in write_report([data.folder], tmp_path / "out")}
    with written["by_position.csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == SEGMENTS and lines[0] == {"row": "gpt", "metric": "val/segment_loss", "tokens": "2", "value": "2.0"}
    assert written.keys() >= {"by_position.png", "by_subject.md", "by_subject.csv"}


def test_the_best_row_is_the_boldest_line_and_ticks_are_shares_of_the_length(tmp_path: Path) -> None:
    figure = positions_figure(recorded(tmp_path / "s", {f"entry_{index:02d}": 3.0 - 0.01 * index for index in range(12)}))
    assert figure is not None
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("position (tokens)", "val/segment_loss (nats)")
    assert list(axes.get_xticks()) == [0, 32, 64, 96, 128]
    widths = [line.get_linewidth() for line in axes.lines]
    assert widths[0] == max(widths) > max(widths[1:]) and axes.lines[0].get_ydata()[0] == pytest.approx(2.89)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert len({(line.get_color(), line.get_marker()) for line in legend.get_lines()}) == 12


def test_without_positions_there_is_neither_table_nor_picture(tmp_path: Path) -> None:
    data = recorded(tmp_path / "s", {"gpt": 2.0}, segments=0)
    assert position_table(data) is None and not draw_positions(data, tmp_path / "by_position.png")


def test_each_part_has_a_column_and_what_rows_are_compared_with_a_row(tmp_path: Path) -> None:
    tables = part_tables(recorded(tmp_path / "s", {"worse": 3.0, "better": 2.0}))
    assert tables.keys() == {"subject"}
    table = tables["subject"]
    assert table.header == ["entry", "all", "boolq", "copa"]
    assert table.rows == [
        ["better", "0.75", "0.5", "1"],
        ["worse", "0.75", "0.5", "1"],
        ["majority", "0.5", "0.5", "–"],  # rows do not agree on the last one
    ]


def test_a_task_without_parts_has_no_table_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MeasuredTask, "part_metrics", {"subject": "val/loss"})
    assert part_tables(recorded(tmp_path / "s", {"gpt": 2.0})) == {}
