"""A forecast's exhibit: what is written reads back, what is damaged or a stranger's does no harm, the pictures show the truth."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forecasts import forecast
from hypothesis import given
from hypothesis import strategies as st

from trainables.exhibits import arrays, canvas
from trainables.exhibits import forecast as forecasts
from trainables.exhibits.arrays import ExhibitError
from trainables.exhibits.forecast import DATA_FILE, ForecastExhibit, read_forecast
from trainables.exhibits.pictures.predictions import mean_squared_error, predictions_figure
from trainables.exhibits.pictures.usage import usage_figure

PNG = b"\x89PNG\r\n"


def assert_equal(one: ForecastExhibit, other: ForecastExhibit) -> None:
    for name in ("time", "truth", "one_step", "multi_step"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.time_name, one.value_names) == (other.time_name, other.value_names)
    assert [list(counts) for counts in one.selections] == [list(counts) for counts in other.selections]


@pytest.mark.parametrize(
    ("shown", "files"),
    [
        (forecast(), {"predictions.npz", "predictions.png"}),
        (forecast(channels=6, codebooks=(32, 8), made=50), {"predictions.npz", "predictions.png", "codebook_usage.png"}),
        (forecast(growth=1000.0), {"predictions.npz", "predictions.png"}),
        (forecast(length=1), {"predictions.npz", "predictions.png"}),
    ],
    ids=["one value", "values and codebooks", "grown beyond all numbers", "one moment"],
)
def test_what_is_written_reads_back_and_has_its_pictures(tmp_path: Path, shown: ForecastExhibit, files: set[str]) -> None:
    shown.write(tmp_path)
    read = read_forecast(tmp_path)
    assert read is not None
    assert_equal(read, shown)
    assert {path.name for path in tmp_path.iterdir()} == files
    assert all(path.read_bytes().startswith(PNG) for path in tmp_path.glob("*.png"))


def test_without_matplotlib_the_data_are_written_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "can_draw", lambda: False)
    forecast(codebooks=(8,)).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {DATA_FILE}
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    assert not canvas.can_draw()


@pytest.mark.parametrize(
    "changes",
    [
        {"time": np.zeros(3)},
        {"one_step": np.zeros((200, 2))},
        {"truth": np.full((200, 1), np.nan)},
        {"multi_step": np.zeros((200, 1), np.float32)},
        {"value_names": ("a", "b")},
        {"selections": (np.zeros(4),)},
        {"selections": (np.array([3, -1]),)},
        {"selections": (np.array([], np.int64),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ExhibitError):
        replace(forecast(), **changes)


def test_where_there_is_none_none_is_read_and_nothing_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert read_forecast(tmp_path / "nowhere", said.append) is None and said == []


class Trap:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("/tmp/memsweep-trap"),)


def _npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def _member(header: str, content: bytes = b"") -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + content


def _saved(save: Callable[..., None], **extra: Any) -> bytes:
    shown, stream = forecast(), io.BytesIO()
    members: dict[str, Any] = {name: getattr(shown, name) for name in ("time", "truth", "one_step", "multi_step")}
    members |= {"time_name": np.array(["t"]), "value_names": np.array(["v"]), **extra}
    save(stream, **members)
    return stream.getvalue()


HOSTILE = {
    "no archive": b"time, value\n1, 2\n",
    "empty": b"",
    "pickled objects": _npz(time=_member("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([Trap()]))),
    "a huge shape": _npz(time=_member("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }", b"12345678")),
    "a negative shape": _npz(time=_member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }", b"12345678")),
    "a shape that is no number": _npz(time=_member("{'descr': '<f8', 'fortran_order': False, 'shape': ('a',), }", b"")),
    "a header that is no header": _npz(time=_member("__import__('os').getcwd()")),
    "compressed": _saved(np.savez_compressed),
    "too much": _saved(np.savez, more=np.zeros(3)),
    "names with line breaks": _saved(np.savez, time_name=np.array(["a\nb"])),
    "a long name": _saved(np.savez, time_name=np.array(["a" * 300])),
    "two names": _saved(np.savez, time_name=np.array(["a", "b"])),
    "names that are numbers": _saved(np.savez, value_names=np.array([1.0])),
    "no characters": _saved(np.savez, value_names=np.array([0x7FFFFFFF], np.uint32).view("<U1")),
    "half a character": _saved(np.savez, value_names=np.array([0xD800], np.uint32).view("<U1")),
    "numbers of another kind": _saved(np.savez, time=np.zeros(200, np.complex128)),
    "values that do not fit": _saved(np.savez, time=np.zeros(7)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_file_is_left_out_with_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATA_FILE).write_bytes(content)
    said: list[str] = []
    assert read_forecast(tmp_path, said.append) is None
    assert len(said) == 1 and "is left out" in said[0] and "\n" not in said[0]
    assert not Path("/tmp/memsweep-trap").exists()


def test_a_large_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    forecast().write(tmp_path)
    monkeypatch.setattr(arrays, "LARGEST_FILE", 100)
    assert read_forecast(tmp_path) is None
    assert "at most 100 are read" in capsys.readouterr().err


WRITTEN = _saved(np.savez)


@given(st.data())
def test_damage_anywhere_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(WRITTEN)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / DATA_FILE).write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    read = read_forecast(folder, lambda message: None)
    assert read is None or isinstance(read, ForecastExhibit)


def test_axes_have_the_names_of_the_columns_and_titles_the_error_in_their_unit() -> None:
    shown = forecast(channels=2)
    axes = predictions_figure(shown).axes
    assert [panel.get_ylabel() for panel in axes] == ["formaldehyde(ug/m³)"] * 2 + ["ozone(ppb)"] * 2
    assert axes[-1].get_xlabel() == "time(h)"
    error = float(np.mean((shown.one_step - shown.truth)[:, 0] ** 2))
    assert axes[0].get_title(loc="left") == f"one-step: MSE {error:.4g} (ug/m³)²"
    assert axes[3].get_title(loc="left").startswith("multi-step: MSE ") and axes[3].get_title(loc="left").endswith(" (ppb)²")


def test_at_most_four_values_are_drawn_and_the_others_counted() -> None:
    figure = predictions_figure(forecast(channels=6))
    assert len(figure.axes) == 8
    assert [text.get_text() for text in figure.legends[0].texts] == [
        *("truth", "one-step", "multi-step", "2 more values are not shown")
    ]


def test_a_prediction_that_grows_does_not_squash_the_truth() -> None:
    shown = forecast(growth=90.0)
    _, panel = predictions_figure(shown).axes
    low, high = panel.get_ylim()
    truth = shown.truth
    assert low < truth.min() and high > truth.max() and high - low < 2 * float(truth.max() - truth.min())
    outside = int(((shown.multi_step > high) | (shown.multi_step < low)).sum())
    assert outside > 100
    assert [text.get_text() for text in panel.texts] == [f"{outside} of 200 predictions lie outside this range"]


def test_the_error_is_that_of_the_moments_that_were_predicted() -> None:
    assert mean_squared_error(forecast(made=50), "multi_step", 0).endswith("(ug/m³)², 50 of 200 steps")
    assert mean_squared_error(forecast(made=0), "multi_step", 0) == "not finite"
    assert mean_squared_error(forecast(growth=1000.0), "multi_step", 0) == "not finite"


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    shown = replace(forecast(), value_names=("a$\\frac$b(c$)",), time_name="$\\nothing$")
    shown.write(tmp_path)
    assert read_forecast(tmp_path) is not None


def test_the_use_of_codebooks_is_sorted_shares_with_the_number_of_used_rows() -> None:
    figure = usage_figure((np.array([1, 0, 3, 0]), np.array([2, 2])))
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.75, 0.25], [0.5, 0.5]]
    assert axes.get_title(loc="left") == "use of the codebooks: 2 of 4 + 2 of 2 rows used"
    assert [text.get_text() for text in figure.legends[0].texts] == ["codebook 1", "codebook 2"]


def test_many_codebooks_are_told_together() -> None:
    figure = usage_figure([np.array([1, 0])] * 16)
    assert figure.axes[0].get_title(loc="left") == "use of the codebooks: 16 of 32 rows of 16 codebooks used"
    assert not figure.legends and len(figure.axes[0].lines) == 16


def test_a_codebook_that_nothing_chose_is_drawn_as_nothing() -> None:
    (axes,) = usage_figure([np.zeros(4, np.int64)]).axes
    assert axes.get_title(loc="left") == "use of the codebook: 0 of 4 rows used"
    assert len(axes.lines[0].get_ydata()) == 0


@pytest.mark.parametrize(("used", "scale"), [(6, "linear"), (100, "log")])
def test_ranks_have_an_axis_that_suits_the_rows_that_were_used(used: int, scale: str) -> None:
    counts = np.zeros(600, dtype=np.int64)
    counts[:used] = np.arange(used, 0, -1)
    assert usage_figure([counts]).axes[0].get_xscale() == scale
