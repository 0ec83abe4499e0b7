"""What a report shows of sweeps whose runs have exhibits, and the slices that it shows of every sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from recorded_sweeps import RecordedSweep

from orchestrator.report.collect import SweepData
from orchestrator.report.pictures.overview import draw_figure
from orchestrator.report.pictures.slices import draw_slices, slices_figure
from orchestrator.report.pictures.ticks import short_number
from orchestrator.report.slices import baseline, completed, slices, worst_shown
from orchestrator.report.summary import summary_json, summary_table
from orchestrator.report.table import result_table
from orchestrator.report.write import report_json, write_report
from orchestrator.sweep.naming import shortened
from trainables.exhibits.forecast import DATA_FILE, ForecastExhibit
from trainables.tasks.mqar import MqarTask

RATIO = "val/persistence_ratio"
SPACE = """
name: recorded
task: {name: mqar}
model: {dim: {choice: [16, 32]}}
architectures:
  narrow: {architecture: gpt, n_heads: {choice: [1, 2, 4]}}
  wide:   {architecture: gpt, dk: {int: [8, 1024], log: true, when: "dim == 32"}, init_std: 0.5, training: {batch_size: 64}}
training: {lr: {float: [1e-4, 1e-2], log: true}, batch_size: 32, epochs: 3}
constraints: {}
objective: {metric: val/loss, mode: min}
search: {trials: 4, replicates: 2, sampler: random}
"""


def shown() -> ForecastExhibit:
    time = np.arange(60.0)
    truth = np.sin(time)[:, None]
    return ForecastExhibit(time, truth, truth + 0.1, truth * 2, "time(h)", ("level(m)",), (np.array([3, 0, 57]),))


class Sweep(RecordedSweep):
    def __init__(self, path: Path, constraints: str = "{}") -> None:
        super().__init__(path, space=SPACE.replace("constraints: {}", f"constraints: {constraints}"))

    def completed(self, entry: str, losses: tuple[float, ...], once: Mapping[str, float] | None = None, **drawn: Any) -> str:
        """A trial with a run of each of these losses; ``lr`` stands for ``training.lr``."""
        values = {"dim": 32, "training.lr": drawn.pop("lr", 1e-3), **drawn}
        constant = {
            "n_heads": 2,
            "dk": 48,
            "init_std": 0.5 if entry == "wide" else 0.02,
            "training.batch_size": 64 if entry == "wide" else 32,
            "training.epochs": 3,
        }
        known = {"params/total": 1000.0, "params/stored": 1400.0, "memory/peak_host_mib": 300.0, **(once or {})}
        runs = [({"val/loss": [3.0, loss], RATIO: [1.0, loss / 0.5]}, known) for loss in losses]
        return self.trial(entry, [sum(losses) / len(losses)], runs, values, constant)

    def exhibit(self, run: str, forecast: ForecastExhibit | None = None) -> Path:
        folder = self.folder.trials / run / "exhibits"
        folder.mkdir(parents=True)
        (forecast or shown()).write(folder)
        return folder


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that reports a ratio to a baseline beside the objective."""
    monkeypatch.setattr(MqarTask, "reported_metrics", (RATIO, "val/never_measured"))
    monkeypatch.setattr(MqarTask, "baseline_ratios", {"val/loss": RATIO}, raising=False)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    made = Sweep(tmp_path / "s")
    made.completed("narrow", (0.6, 0.4), n_heads=4)
    made.completed("narrow", (0.7, 0.7), n_heads=1)
    made.completed("wide", (0.25, 0.35), {"params/stored": 2500.0, "codebook/rows": 32.0}, dk=8, lr=3e-4)
    made.completed("wide", (0.9, 0.9), {"params/stored": 2600.0, "codebook/rows": 64.0}, dk=512)
    return made


@pytest.mark.usefixtures("reporting")
def test_a_baseline_that_differs_between_trials_is_not_drawn_as_one(tmp_path: Path) -> None:
    made = Sweep(tmp_path / "s")
    made.completed("narrow", (0.6, 0.4), n_heads=4)
    curves = {"val/loss": [3.0, 0.5], RATIO: [1.0, 0.5 / 0.9]}
    constant = {"n_heads": 2, "training.batch_size": 32, "training.epochs": 3}
    same = made.load()
    assert baseline(same, completed(same)) == ("persistence", pytest.approx(0.5))
    made = Sweep(tmp_path / "t")
    made.completed("narrow", (0.6, 0.4), n_heads=4)
    made.trial("narrow", [0.5], [(curves, {})], {"dim": 32, "training.lr": 1e-3}, constant)
    other = made.load()
    assert baseline(other, completed(other)) is None


def links(markdown: str) -> set[str]:
    return {part.partition(")")[0] for part in markdown.split("](")[1:]}


@pytest.mark.usefixtures("reporting")
def test_the_summary_has_exactly_the_columns_asked_for_best_first(sweep: Sweep, tmp_path: Path) -> None:
    for run in ("narrow-0000-s1", "wide-0000-s0", "wide-0001-s0"):
        sweep.exhibit(run)
    data = sweep.load()
    table = summary_table(data)
    assert table is not None
    assert table.header == ["model", "loss", "persistence ratio", "stored", "lr", "picture"]
    usage, predictions = "[codebook usage](pictures/{0}-codebook_usage.png)", "[predictions](pictures/{0}-predictions.png)"
    assert table.rows == [
        [
            *("wide (dim 32, init_std 0.5, dk 8, batch_size 64)", "0.3 ± 0.071", "0.6", "2,500", "0.0003"),
            f"{usage} {predictions}".format("wide"),
        ],
        [
            *("narrow (dim 32, n_heads 4, batch_size 32)", "0.5 ± 0.14", "1", "1,400", "0.001"),
            f"{usage} {predictions}".format("narrow"),
        ],
    ]
    written = {str(path.relative_to(tmp_path / "out")) for path in write_report([data.folder], tmp_path / "out")}
    assert written >= {"summary.md", "predictions.png", "codebook_usage.png", "slices.png", "figure.png"}
    assert links((tmp_path / "out" / "summary.md").read_text()) == {path for path in written if path.startswith("pictures/")}


@pytest.mark.usefixtures("reporting")
def test_the_json_has_the_summary_with_the_best_run_and_its_pictures(sweep: Sweep) -> None:
    sweep.exhibit("narrow-0000-s1")
    data = sweep.load()
    wide, narrow = json.loads(json.dumps(report_json(data)))["summary"]
    assert narrow == {
        **{"row": "narrow", "model": "narrow (dim 32, n_heads 4, batch_size 32)", "trial": "narrow-0000"},
        **{"run": "narrow-0000-s1", "val/loss": 0.5, "spread": pytest.approx(0.1414, rel=1e-3), RATIO: 1.0},
        **{"params/stored": 1400.0, "lr": 1e-3},
        "pictures": {name: f"pictures/narrow-{name}.png" for name in ("codebook_usage", "predictions")},
    }
    assert (wide["run"], wide["pictures"]) == (None, {})


def test_of_several_sweeps_the_pictures_have_the_sweeps_name_before(sweep: Sweep, tmp_path: Path) -> None:
    sweep.exhibit("wide-0000-s0")
    other = Sweep(tmp_path / "other")
    other.completed("wide", (0.5,), dk=8)
    out = tmp_path / "out"
    written = {str(path.relative_to(out)) for path in write_report([sweep.load().folder, other.load().folder], out)}
    assert links((out / "s-summary.md").read_text()) == {f"s-pictures/wide-{n}.png" for n in ("predictions", "codebook_usage")}
    assert links((out / "s-summary.md").read_text()) <= written and "other-summary.md" not in written


@pytest.mark.usefixtures("reporting")
def test_reported_metrics_stand_beside_the_objective(sweep: Sweep) -> None:
    data = sweep.load()
    table = result_table(data)
    assert table.header[:5] == ["entry", "val/loss", "best step", RATIO, "dim"]
    assert [row[3] for row in table.rows] == ["0.6", "1"]


def test_without_exhibits_there_is_no_summary_and_no_picture_of_them(sweep: Sweep, tmp_path: Path) -> None:
    data = sweep.load()
    assert summary_table(data) is None and summary_json(data) == []
    assert {path.name for path in write_report([data.folder], tmp_path / "out")} == {
        *("table.md", "table.csv", "report.json", "figure.png", "slices.png")
    }


# A stranger's exhibits.


def test_damaged_exhibits_are_left_out_with_a_line(sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, damaged = sweep.exhibit("narrow-0000-s1"), sweep.exhibit("wide-0000-s0")
    (damaged / DATA_FILE).write_bytes((good / DATA_FILE).read_bytes()[:-200])
    (damaged / "predictions.png").write_bytes(b"<script>")
    data = sweep.load()
    written = {str(path.relative_to(tmp_path / "out")) for path in write_report([data.folder], tmp_path / "out")}
    assert "predictions.png" in written and "pictures/wide-predictions.png" not in written
    assert str(damaged / DATA_FILE) in capsys.readouterr().err


@pytest.mark.parametrize("inner", [False, True], ids=["the folder", "a picture in it"])
def test_no_link_brings_a_file_from_elsewhere_into_the_report(sweep: Sweep, tmp_path: Path, inner: bool) -> None:
    (tmp_path / "private").mkdir()
    shown().write(tmp_path / "private")
    folder = sweep.folder.trials / "wide-0000-s0" / "exhibits"
    if inner:
        folder.mkdir(parents=True)
        (folder / "predictions.png").symlink_to(tmp_path / "private" / "predictions.png")
    else:
        folder.parent.mkdir(parents=True)
        folder.symlink_to(tmp_path / "private")
    written = write_report([sweep.load().folder], tmp_path / "out")
    assert not [path for path in written if path.name in ("predictions.png", "wide-predictions.png")]


# Slices.


def panels(data: SweepData) -> dict[str, Any]:
    """The axes of the figure by the label of their x axis."""
    figure = slices_figure(data)
    assert figure is not None
    return {axes.get_xlabel(): axes for axes in figure.axes if axes.axison}


@pytest.mark.usefixtures("reporting")
def test_slices_are_the_sizes_and_what_is_searched_with_fitting_scales(sweep: Sweep) -> None:
    data = sweep.load()
    shown = panels(data)
    assert {label: axes.get_xscale() for label, axes in shown.items()} == {
        "params/stored": "linear",
        "codebook rows (vocabulary size)": "linear",
        "n_heads": "linear",
        "dk": "log",
        "lr": "log",
    }
    assert [axes.get_ylabel() for axes in shown.values()] == ["val/loss", "", "", "", "val/loss"]
    assert all(line.get_ydata()[0] == pytest.approx(0.5) for axes in shown.values() for line in axes.lines[:1])
    (legend,) = slices_figure(data).legends  # type: ignore[union-attr]
    assert [text.get_text() for text in legend.texts] == ["narrow", "wide", "best of its entry", "persistence 0.5"]


def test_losses_far_from_the_best_do_not_squash_those_close_to_it(sweep: Sweep) -> None:
    assert panels(sweep.load())["lr"].get_yscale() == "linear"
    other = Sweep(sweep.folder.path.parent / "far")
    for loss in (0.4, 0.41, 30.0):
        other.completed("wide", (loss,), dk=8, lr=loss / 100)
    assert panels(other.load())["lr"].get_yscale() == "log"


def test_the_axis_ends_before_a_few_bad_trials() -> None:
    losses = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 40.0]
    assert worst_shown(losses, "min") == pytest.approx(1 + 2.5 * 0.6)
    assert worst_shown([-loss for loss in losses], "max") == pytest.approx(-1 - 2.5 * 0.6)
    assert worst_shown(losses, "min", wanted=[3.0]) == 3.0
    assert worst_shown(losses, "min", wanted=[50.0]) is None, "nothing lies beyond"
    assert worst_shown(losses[:-1], "min") is None and worst_shown(losses[-4:], "min") is None


def test_trials_beyond_the_axis_are_triangles_at_its_end(sweep: Sweep) -> None:
    other = Sweep(sweep.folder.path.parent / "outlier")
    for index, loss in enumerate([0.40, 0.41, 0.42, 0.43, 0.44, 0.45, 0.46, 30.0]):
        other.completed("wide", (loss,), dk=8, lr=1e-4 * (index + 1))
    figure = slices_figure(other.load())
    assert figure is not None and figure.get_suptitle().endswith("; triangles: 1 beyond the axis")
    (axes,) = (axes for axes in figure.axes if axes.get_xlabel() == "lr")
    end = axes.get_ylim()[1]
    at_the_end = [marks for marks in axes.collections if tuple(marks.get_offsets()[0]) == (pytest.approx(8e-4), end)]
    assert len(at_the_end) == 1 and end < 1


def test_the_best_trial_of_each_entry_is_marked(sweep: Sweep) -> None:
    axes = panels(sweep.load())["lr"]
    rings = [tuple(marks.get_offsets()[0]) for marks in axes.collections if len(marks.get_facecolors()) == 0]
    assert rings == [(1e-3, 0.5), (3e-4, pytest.approx(0.3))]


def test_a_dimension_that_was_not_active_is_no_point(tmp_path: Path) -> None:
    """Where its guard does not hold a trial has the default, which nobody chose."""
    sweep = Sweep(tmp_path / "guarded")
    for dk, loss in ((8, 0.5), (64, 0.4)):
        sweep.completed("wide", (loss,), dk=dk)
    sweep.completed("wide", (0.3,), dim=16)
    (widths,) = [piece for piece in slices(sweep.load()) if piece.label == "dk"]
    assert sorted(point.x for point in widths.points) == [8, 64]


def test_the_scope_of_the_budget_is_shown_and_what_is_stored_where_that_is_more(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "budget", constraints="{params: {scope: total, max: 100M}}")
    for size in (1000.0, 50_000.0):
        sweep.completed("wide", (1 / size,), {"params/total": size, "params/buffers": 9.0, "params/stored": size + 9}, dk=8)
    found = {piece.label: piece.log for piece in slices(sweep.load())}
    assert found == {"params/total": True, "params/stored": True}


def test_of_many_dimensions_those_that_most_entries_search_are_shown(tmp_path: Path) -> None:
    fields = ("dim", "n_layers", "n_heads", "dk", "dv", "training.lr", "training.batch_size", "training.epochs", "init_std")
    space = """
name: recorded
task: {name: mqar}
model: {dim: {int: [1, 64]}, n_layers: {int: [1, 64]}, n_heads: {int: [1, 64]}, dk: {int: [1, 64]}, dv: {int: [1, 64]}}
architectures: {a: {architecture: gpt, init_std: {float: [0.1, 0.9]}}, b: {architecture: gpt}}
training: {lr: {float: [1e-4, 1e-2]}, batch_size: {int: [1, 64]}, epochs: {int: [1, 64]}}
objective: {metric: val/loss, mode: min}
search: {trials: 4, sampler: random}
"""
    sweep = RecordedSweep(tmp_path / "many", space=space)
    for entry in ("a", "b"):
        for value in (1, 2):
            drawn = {name: value for name in fields if name != "init_std"} | ({"init_std": 0.1 * value} if entry == "a" else {})
            sweep.trial(entry, [0.1 * value], [({"val/loss": [0.1 * value]}, {"params/stored": 10.0 * value})], drawn)
    shown = [piece.label for piece in slices(sweep.load())]
    assert shown == ["params/stored", "dim", "n_layers", "n_heads", "dk", "dv", "lr", "batch_size"]


def test_a_sweep_without_two_completed_trials_has_no_slices(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "one")
    sweep.completed("wide", (0.5,), dk=8)
    data = sweep.load()
    assert not draw_slices(data, tmp_path / "slices.png") and not (tmp_path / "slices.png").exists()
    assert report_json(data)["summary"] == []


def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[str] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: scales.append(figure.axes[0].get_yscale()))
    for loss in (0.5, 0.001):
        sweep = Sweep(tmp_path / str(loss))
        sweep.completed("wide", (loss,), dk=8)
        assert draw_figure(sweep.load(), tmp_path / "figure.png")
    assert scales == ["linear", "log"]


# Values in short.


@pytest.mark.parametrize(
    ("value", "text", "name"),
    [
        ([32, 32], "32×2", "32x2"),
        ([1024, 256, 32], "1024/256/32", "1024+256+32"),
        ([32, 32, 8, 32], "32×2/8/32", "32x2+8+32"),
        ([[4, 4], [16], [16]], "(4×2)/(16)×2", "(4x2)+(16)x2"),
        ([[4, 4, 16]], "(4×2/16)", "(4x2+16)"),
        ([], "[]", "[]"),
        (0.00071234, "0.000712", "0.000712"),
        ("data/y_w.csv#sha256=2629be5f0906f1c4", "data/y_w.csv", "data/y_w.csv"),
        (True, "True", "True"),
    ],
    ids=str,
)
def test_values_are_shown_in_short(value: Any, text: str, name: str) -> None:
    assert shortened(value) == text and shortened(value, "+", "x") == name


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0003, "3e-4"), (0.015, "0.015"), (128.0, "128"), (1024.0, "1024"), (12_500.0, "12.5k"), (4.2e6, "4.2M")],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert short_number(value) == text
