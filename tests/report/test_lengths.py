"""Tables and pictures by the length of sequences."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from recorded_sweeps import RecordedSweep
from recorded_tasks import FootprintTask, MeasuredTask

from orchestrator.report.collect import SweepData
from orchestrator.report.length_table import length_table
from orchestrator.report.lengths import lengths_json
from orchestrator.report.pictures.lengths import draw_lengths, lengths_figure
from orchestrator.report.pictures.lines import with_unit
from orchestrator.report.pictures.overview import draw_figure
from orchestrator.report.pictures.slices import slices_figure
from orchestrator.report.table import result_table
from orchestrator.report.write import report_json, write_report
from trainables import registry

SPACE = """
name: recorded
task: {name: measured}
model: {dim: 32, n_layers: 2, dk: 16}
architectures:
ENTRIES
TRAINING
objective: {metric: METRIC, mode: min}
search: {sampler: grid}
"""
TWO_MEMORIES = """
  s32: {architecture: gpt, n_heads: {grid: [1, 2, 4]}, task: {train_length: 512, val_length: 1024}}
  s64: {architecture: gpt, n_heads: {grid: [1, 2]}, task: {train_length: 1024, val_length: 2048}}
"""
PLAIN = "  plain: {architecture: gpt, task: {val_length: {grid: [1024, 2048]}, train_length: 512}}\n"
FOUR_MODELS = """
  plain: {architecture: gpt, dim: {grid: [16, 32, 64]}, task: {val_length: {grid: [64, 256, 1024]}}}
  memo: {architecture: gpt, task: {val_length: {grid: [64, 256, 1024]}}}
"""


class Sweep(RecordedSweep):
    def __init__(self, path: Path, entries: str, metric: str = "val/loss") -> None:
        training = "training: {lr: 0.001, epochs: 1}" if metric.startswith("val/") else ""
        space = SPACE.replace("ENTRIES", entries.strip("\n")).replace("METRIC", metric).replace("TRAINING", training)
        super().__init__(path, space=space)
        self.metric = metric

    def measured(self, cell: str, lengths: tuple[int, int], metrics: Mapping[str, float], **model: Any) -> str:
        """A completed trial of one step; the objective is among the metrics."""
        task = {"task.train_length": lengths[0], "task.val_length": lengths[1]}
        constant = {"dim": 32, "n_layers": 2, "dk": 16, "training.lr": 0.001, "training.epochs": 1, **task, **model}
        value = metrics[self.metric]
        return self.trial(cell, [value], [({self.metric: [value]}, metrics)], {}, constant)

    def crops(self, cell: str, lengths: tuple[int, int], losses: tuple[float, float], **more: float) -> str:
        names = ("train_crop", "val")
        metrics = {f"{name}/loss": loss for name, loss in zip(names, losses, strict=True)}
        metrics |= {f"{name}/perplexity": math.exp(loss) for name, loss in zip(names, losses, strict=True)}
        return self.measured(cell, lengths, {**metrics, **more}, n_heads=2)


@pytest.fixture(autouse=True)
def measured_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.tasks(), "measured", MeasuredTask)


@pytest.fixture
def footprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.tasks(), "measured", FootprintTask)


def two_memories(path: Path, entries: str = TWO_MEMORIES) -> Sweep:
    """The figures of a published table of that form."""
    sweep = Sweep(path, entries)
    full = {"val/full_attention_loss": 4.9}
    sweep.crops("s32.n_heads-1", (512, 1024), (4.6488, 5.0271), **full)
    sweep.crops("s32.n_heads-2", (512, 1024), (4.6448, 5.0397), **full)
    sweep.crops("s32.n_heads-4", (512, 1024), (4.6520, 5.0631), **full)
    sweep.crops("s64.n_heads-1", (1024, 2048), (5.5163, 5.7740), **{"val/full_attention_loss": 5.6})
    sweep.crops("s64.n_heads-2", (1024, 2048), (5.5203, 5.7817), **{"val/full_attention_loss": 5.61})
    return sweep


def shown(data: SweepData) -> list[list[str]]:
    table = length_table(data)
    assert table is not None
    return [table.header, *table.rows]


def test_a_field_that_entries_of_other_lengths_share_gives_the_rows(tmp_path: Path) -> None:
    data = two_memories(tmp_path / "s").load()
    assert shown(data) == [
        ["n_heads", "s32: train 512", "s32: val 1024", "s64: train 1024", "s64: val 2048"],
        ["1", "4.649 / 104.5", "5.027 / 152.5", "5.516 / 248.7", "5.774 / 321.8"],
        ["2", "4.645 / 104", "5.04 / 154.4", "5.52 / 249.7", "5.782 / 324.3"],
        ["4", "4.652 / 104.8", "5.063 / 158.1", "–", "–"],
        ["full attention", "–", "4.9 / –", "–", "5.6–5.61 / –"],
    ]


def test_rows_without_the_field_stand_below_at_every_column_of_their_lengths(tmp_path: Path) -> None:
    sweep = two_memories(tmp_path / "s", TWO_MEMORIES.rstrip("\n") + "\n" + PLAIN)
    for length, loss in ((1024, 4.8), (2048, 4.7)):
        sweep.crops(f"plain.val_length-{length}", (512, length), (4.5, loss))
    header, *_, plain, full = shown(sweep.load())
    assert header[0] == "n_heads" and len(header) == 5 and full[0] == "full attention"
    assert plain == ["plain", "4.5 / 90.02", "4.8 / 121.5", "–", "4.7 / 109.9"]


def test_lengths_that_no_group_has_get_columns_of_their_own(tmp_path: Path) -> None:
    entries = TWO_MEMORIES.rstrip("\n") + "\n" + PLAIN.replace("2048", "4096")
    sweep = two_memories(tmp_path / "s", entries)
    sweep.crops("plain.val_length-4096", (512, 4096), (4.5, 4.6))
    header, *_, plain, _ = shown(sweep.load())
    assert header[-1] == "val 4096" and plain[-1] == "4.6 / 99.48"


def footprints(path: Path, vram: bool = False) -> Sweep:
    metric = "vram/peak_reserved_mib" if vram else "memory/peak_host_mib"
    sweep = Sweep(path, FOUR_MODELS, metric)
    for length in (64, 256, 1024):
        for index, dim in enumerate((16, 32, 64)):
            weights = {"memory/weights_mib": 1353.5 * 4.75**index}
            peak = weights["memory/weights_mib"] + 62.9 + 0.48 * length * 4**index
            sweep.measured(f"plain.dim-{dim}.val_length-{length}", (512, length), {metric: peak, **weights}, dim=dim)
        weights = {"memory/weights_mib": 30633.0}
        sweep.measured(f"memo.val_length-{length}", (512, length), {metric: 30_900.0 + min(length, 128), **weights})
    return sweep


@pytest.mark.usefixtures("footprint")
def test_lengths_of_one_kind_are_the_columns_in_their_order(tmp_path: Path) -> None:
    data = footprints(tmp_path / "s").load()
    assert shown(data) == [
        ["entry", "64", "256", "1024"],
        ["plain (dim 16)", "1447", "1539", "1908"],
        ["plain (dim 32)", "6615", "6984", "8458"],
        ["plain (dim 64)", "31093", "32567", "38466"],
        ["memo", "30964", "31028", "31028"],
    ]
    assert length_table(data).note.startswith("peak host MiB; columns: tokens (val_length)")  # type: ignore[union-attr]


@pytest.mark.usefixtures("footprint")
def test_of_metrics_that_stand_for_one_the_first_that_runs_have_is_shown(tmp_path: Path) -> None:
    data = footprints(tmp_path / "s", vram=True).load()
    assert length_table(data).note.startswith("peak VRAM MiB")  # type: ignore[union-attr]
    assert len(shown(data)) == 5, "weights of several models are no one line"


def test_of_several_trials_of_a_row_and_a_length_the_best_counts(tmp_path: Path) -> None:
    """The length is computed from what is searched, so that trials of one row have several."""
    entry = '  gpt: {architecture: gpt, n_heads: {choice: [1, 2]}, task: {val_length: "${512 * n_heads}", train_length: 512}}'
    sweep = Sweep(tmp_path / "s", entry)
    names = ("task.train_length", "task.val_length", "dim", "n_layers", "dk", "training.lr", "training.epochs")
    for heads, loss in ((1, 3.0), (1, 2.0), (2, 2.5), (2, 4.0)):
        constant = dict(zip(names, (512, 512 * heads, 32, 2, 16, 0.001, 1), strict=True))
        sweep.trial("gpt", [loss], [({"val/loss": [loss]}, {})], {"n_heads": heads}, constant)
    data = sweep.load()
    assert shown(data) == [["entry", "512", "1024"], ["gpt", "2", "2.5"]]
    assert [(line["tokens"], line["trial"], line["value"]) for line in lengths_json(data)] == [
        (512, "gpt-0001", 2.0),
        (1024, "gpt-0002", 2.5),
    ]


def test_files_have_each_value_with_its_trial_and_the_json_has_them_too(tmp_path: Path) -> None:
    data = two_memories(tmp_path / "s").load()
    written = {path.name: path for path in write_report([data.folder], tmp_path / "out")}
    with written["by_length.csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    first = {"row": "s32 (n_heads 1)", "length": "train_length", "tokens": "512", "trial": "s32.n_heads-1-0000"}
    assert lines[0] == {**first, "metric": "train_crop/loss", "value": "4.6488"}
    assert len(lines) == 5 * 5, "two metrics of each kind of length, and a baseline"
    assert len(json.loads(json.dumps(report_json(data)))["by_length"]) == len(lines)
    assert "| s32: val 1024 " in written["by_length.md"].read_text()


def test_a_task_without_lengths_has_no_files_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = two_memories(tmp_path / "s").load()
    monkeypatch.setattr(MeasuredTask, "length_metrics", {})
    written = {path.name for path in write_report([data.folder], tmp_path / "out")}
    assert not any(name.startswith("by_length") for name in written) and report_json(data)["by_length"] == []


# Pictures.


@pytest.mark.usefixtures("footprint")
def test_memory_is_drawn_against_lengths_with_the_weights_below(tmp_path: Path) -> None:
    data = footprints(tmp_path / "s", vram=True).load()
    figure = lengths_figure(data)
    assert figure is not None
    axes, beyond = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log"), "sixteen times as long, 26 times as much"
    assert beyond.get_ylabel() == "peak VRAM MiB beyond weights"
    assert [list(line.get_ydata()) for line in beyond.lines][-1] == pytest.approx([331, 395, 395])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("val length (tokens)", "peak VRAM MiB")
    assert list(axes.get_xticks()) == [64, 256, 1024]
    drawn = [line for line in axes.lines if line.get_linestyle() == "-"]
    floors = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_color() for line in drawn] == [line.get_color() for line in floors]
    assert list(drawn[-1].get_ydata()) == [30_964, 31_028, 31_028]
    assert all(max(floor.get_ydata()) < min(line.get_ydata()) for line, floor in zip(drawn, floors, strict=True))
    (legend,) = figure.legends
    names = ["plain (dim 16)", "plain (dim 32)", "plain (dim 64)", "memo", "weights"]
    assert [text.get_text() for text in legend.texts] == names


def test_the_legend_of_many_rows_covers_no_panel_and_labels_do_not_touch(tmp_path: Path) -> None:
    names = [f"memory_with_a_long_name_{index:02d}" for index in range(14)]
    entry = "{architecture: gpt, task: {val_length: {grid: [128, 256, 512, 1024, 2048, 4096, 8192, 16384]}, train_length: 512}}"
    sweep = Sweep(tmp_path / "s", "\n".join(f"  {name}: {entry}" for name in names))
    for index, name in enumerate(names):
        for length in (128, 256, 512, 1024, 2048, 4096, 8192, 16384):
            sweep.crops(f"{name}.val_length-{length}", (512, length), (4.0, 4.0 + 0.1 * index + 100 / length))
    figure = lengths_figure(sweep.load())
    assert figure is not None
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert min(axes.get_window_extent().height for axes in figure.axes) > 200
    boxes = [label.get_window_extent() for axes in figure.axes for label in axes.get_xticklabels()]
    assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[:index])


def test_a_row_of_a_single_length_makes_no_picture(tmp_path: Path) -> None:
    data = two_memories(tmp_path / "s").load()
    assert not draw_lengths(data, tmp_path / "by_length.png") and not (tmp_path / "by_length.png").exists()


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("val/loss", "val/loss (nats)"),
        ("val/segment_loss", "val/segment_loss (nats)"),
        ("val/perplexity", "val/perplexity"),
        ("memory/estimated_mib", "memory/estimated_mib (MiB)"),
        ("memory/peak_host_mib", "peak host MiB"),
        ("val/accuracy", "val/accuracy"),
    ],
)
def test_axes_tell_units(metric: str, label: str) -> None:
    assert with_unit(metric) == label


# Sweeps that measure in one step and train nothing.


@pytest.mark.usefixtures("footprint")
def test_where_nothing_is_trained_no_table_has_columns_of_training(tmp_path: Path) -> None:
    table = result_table(footprints(tmp_path / "s").load())
    assert table.header == ["entry", "memory/peak_host_mib", "dim", "task.val_length", "params/block", "params/total", "trials"]


@pytest.mark.usefixtures("footprint")
def test_memory_in_a_single_step_is_not_drawn_against_steps_or_itself(tmp_path: Path) -> None:
    data = footprints(tmp_path / "s").load()
    assert not draw_figure(data, tmp_path / "figure.png") and not (tmp_path / "figure.png").exists()
    slices = slices_figure(data)
    assert slices is not None and slices.get_suptitle() == "s: completed trials", "no measurement is left out as a bad trial"


def test_runs_of_one_step_have_no_panel_of_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    sweep = two_memories(tmp_path / "s")
    assert draw_figure(sweep.load(), tmp_path / "figure.png")
    assert [axes.get_xlabel() for axes in figures[0].axes] == ["peak host MiB"]
