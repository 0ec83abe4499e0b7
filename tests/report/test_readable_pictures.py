"""Pictures of sweeps with many entries, long names and sizes far apart can still be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from recorded_sweeps import RecordedSweep

from orchestrator.report.collect import SweepData
from orchestrator.report.pictures.codebooks import codebooks_figure
from orchestrator.report.pictures.forecasts import forecasts_figure
from orchestrator.report.pictures.legend import MOST_LISTED, entry_styles, listed
from orchestrator.report.pictures.overview import draw_figure
from orchestrator.report.pictures.slices import slices_figure
from orchestrator.report.slices import slices
from trainables.exhibits.forecast import ForecastExhibit

LONG = [f"grouped_hierarchical_vq_mlp_with_all_its_options_{index:02d}" for index in range(16)]
SPACE = """
name: recorded
task: {name: mqar}
architectures:
ENTRIES
training: {lr: {float: [1e-4, 1e-2], log: true}, epochs: 2}
objective: {metric: val/loss, mode: min}
search: {trials: 4, sampler: random}
"""


def many_entries(path: Path, names: list[str]) -> SweepData:
    entries = "\n".join(f"  {name}: {{architecture: gpt, dk: {{int: [8, 64]}}}}" for name in names)
    sweep = RecordedSweep(path, space=SPACE.replace("ENTRIES", entries))
    for index, name in enumerate(names):
        loss = 0.01 * 2**index
        once = {"codebook/rows": 64.0 * 2 ** (index % 5), "params/stored": 1000.0, "memory/peak_host_mib": 300.0 + index}
        drawn = {"dk": 8 + index, "training.lr": 1e-3}
        sweep.trial(name, [loss], [({"val/loss": [2 * loss, loss]}, once)], drawn, {"training.epochs": 2})
    return sweep.load()


def saved_figure(monkeypatch: pytest.MonkeyPatch, data: SweepData, path: Path) -> Figure:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    assert draw_figure(data, path)
    figures[0].draw_without_rendering()
    return figures[0]


def overlapping(boxes: list[Any]) -> list[tuple[int, int]]:
    pairs = [(one, other) for other in range(len(boxes)) for one in range(other)]
    return [(one, other) for one, other in pairs if boxes[one].overlaps(boxes[other])]


def test_the_legend_of_many_entries_covers_no_panel_and_tells_all_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = saved_figure(monkeypatch, many_entries(tmp_path / "s", LONG), tmp_path / "figure.png")
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert min(axes.get_window_extent().height for axes in figure.axes) > 200
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(looks) == len(LONG)


def test_losses_far_apart_have_a_logarithmic_axis_against_memory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = saved_figure(monkeypatch, many_entries(tmp_path / "s", LONG), tmp_path / "figure.png")
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert all(len(axes.get_yticks()) >= 3 for axes in figure.axes)


def test_a_legend_lists_so_many_entries_and_counts_the_others() -> None:
    names = [f"e{index}" for index in range(MOST_LISTED + 3)]
    assert listed(names) == [*names[:MOST_LISTED], "and 3 more"]
    assert listed(names[:MOST_LISTED]) == names[:MOST_LISTED]
    styles = entry_styles(names[:MOST_LISTED]).values()
    assert len({tuple(style.items()) for style in styles}) == MOST_LISTED


def test_codebook_sizes_that_double_have_a_logarithmic_axis(tmp_path: Path) -> None:
    data = many_entries(tmp_path / "s", LONG)
    (rows,) = [piece for piece in slices(data) if "vocabulary size" in piece.label]
    assert rows.log and {point.x for point in rows.points} == {64, 128, 256, 512, 1024}


def test_the_legend_of_slices_leaves_the_panels_their_height(tmp_path: Path) -> None:
    figure = slices_figure(many_entries(tmp_path / "s", LONG))
    assert figure is not None
    figure.draw_without_rendering()
    assert min(axes.get_window_extent().height for axes in figure.axes) > 120


def shown_rows() -> dict[str, ForecastExhibit]:
    truth = 1e4 * np.sin(np.arange(60.0))[:, None]
    codebooks = (np.array([3, 0]),) * 3
    shown = ForecastExhibit(np.arange(60.0), truth, truth + 0.1, 1e3 * truth, "time(h)", ("level (µg/m³)",), codebooks)
    return dict.fromkeys([f"{name}.csv-white_and_yellow-{name[-2:]}" for name in LONG[:6]], shown)


def test_names_of_rows_stand_above_the_titles_of_both_kinds_of_prediction() -> None:
    rows = shown_rows()
    figure = forecasts_figure("recorded", rows)
    titles = [axes._left_title for axes in figure.axes]
    assert [title.get_text().partition("\n")[0] for title in titles[::2]] == list(rows)
    figure.draw_without_rendering()
    assert max(title.get_window_extent().x1 for title in titles) <= figure.bbox.x1
    for title in titles:
        title.set_text(title.get_text().rpartition("\n")[2])
    assert overlapping([title.get_window_extent() for title in titles]) == []


def test_titles_of_codebook_panels_do_not_touch_and_keep_the_ends_of_names() -> None:
    rows = shown_rows()
    figure = codebooks_figure("recorded", rows)
    figure.draw_without_rendering()
    titles = [axes._left_title for axes in figure.axes]
    boxes = [title.get_window_extent() for title in titles]
    assert overlapping(boxes) == [] and max(box.x1 for box in boxes) <= figure.bbox.x1
    assert all(title.get_text().partition("\n")[0].endswith(row[-10:]) for title, row in zip(titles, rows, strict=True))
