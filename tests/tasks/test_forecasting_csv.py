"""CSV files: what is read, and every fault with its place and its cure."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_modules import MEASURED_SERIES, needs_measured_series

from trainables.configuration import ConfigurationError
from trainables.tasks._forecasting.csv_reader import CsvSource, read_csv_series
from trainables.tasks._forecasting.series import Series
from trainables.tasks.forecasting import ForecastingConfiguration, ForecastingTask

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def into(content: str | bytes) -> Path:
        path = tmp_path / "series.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return into


def table(rows: list[str], header: str = "t,v") -> str:
    return "\n".join([header, *rows]) + "\n"


def regular(count: int) -> list[str]:
    return [f"{index / 10},{(index * 7) % 5}" for index in range(count)]


def problems(path: Path, **values: Any) -> list[tuple[str | None, str]]:
    with pytest.raises(ConfigurationError) as caught:
        ForecastingTask.inspect(ForecastingConfiguration.from_values({"csv": str(path), "time_steps": 5, **values}))
    return caught.value.problems


def only_problem(path: Path, **values: Any) -> tuple[str | None, str]:
    (problem,) = problems(path, **values)
    return problem


@needs_measured_series
def test_the_measured_series_is_read() -> None:
    series = read_csv_series(CsvSource(MEASURED_SERIES))
    assert series.values.shape == (733, 1) and series.time_name == "time(h)"
    assert series.values.mean() == pytest.approx(1255.5946, abs=5e-5) and series.values.std() == pytest.approx(270.0613, abs=5e-5)
    ForecastingTask.inspect(ForecastingConfiguration(csv=str(MEASURED_SERIES)))


@pytest.mark.parametrize(
    "content", ["t,v\n0,1\n1,2\n", "\ufefft,v\r\n0,1\r\n\r\n1,2\r\n\r\n", '"t", "v"\n"0","1"\n1, 2 ', "t,v\r0,1\r1,2"]
)
def test_marks_line_ends_quotes_and_blank_lines_do_not_matter(write: Write, content: str) -> None:
    series = read_csv_series(CsvSource(write(content)))
    assert (series.time_name, series.value_names) == ("t", ("v",))
    assert series.times.tolist() == [0, 1] and series.values.tolist() == [[1], [2]]


def test_columns_are_chosen_by_name_and_the_others_may_hold_anything(write: Write) -> None:
    path = write('note;b;when;a\n"x;y";1;0;5\n;2;1;6\n')
    series = read_csv_series(CsvSource(path, ";", "when", ("a", "b")))
    assert series.value_names == ("a", "b") and series.values.tolist() == [[5, 1], [6, 2]]
    assert read_csv_series(CsvSource(path, ";", "when", ("b",))).values.tolist() == [[1], [2]]
    assert read_csv_series(CsvSource(path, ";", "b", ("a",))).times.tolist() == [1, 2]


def test_columns_without_names_are_read_where_they_are_asked_for(write: Write) -> None:
    path = write(",v,,\n0,1,,\n1,2,,\n,,,\n")
    series = read_csv_series(CsvSource(path, time_column=""))
    assert (series.value_names, series.values.tolist()) == (("v",), [[1], [2]])


@pytest.mark.parametrize("values", [{"time_column": "t"}, {"value_columns": ["a", "b"]}, {"value_columns": ["a"]}])
def test_columns_of_no_file_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ForecastingTask.inspect(ForecastingConfiguration.from_values(values))
    ((field, message),) = caught.value.problems
    assert [field] == list(values) and "csv names none" in message


def test_the_default_value_column_is_the_first_one_that_is_not_the_time(write: Write) -> None:
    assert read_csv_series(CsvSource(write("v,t,w\n1,0,5\n2,1,6\n"), time_column="t")).value_names == ("v",)


def test_timestamps_become_hours_since_the_first(write: Write) -> None:
    rows = ["2024-02-28T23:30:00Z,1", "2024-02-29 00:00:00+00:00,2", "2024-02-29T00:30Z,3"]
    series = read_csv_series(CsvSource(write(table(rows))))
    assert series.times.tolist() == [0, 0.5, 1.0]
    assert series.time_name == "hours since 2024-02-28 23:30:00+00:00"


@given(values=st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=30), separator=st.sampled_from(",;\t|"))
def test_numbers_are_read_exactly(tmp_path_factory: pytest.TempPathFactory, values: list[float], separator: str) -> None:
    path = tmp_path_factory.mktemp("csv") / "series.csv"
    path.write_text("".join([f"t{separator}v\n", *(f"{index}{separator}{value!r}\n" for index, value in enumerate(values))]))
    assert read_csv_series(CsvSource(path, separator)).values[:, 0].tolist() == values


def test_a_file_that_has_changed_is_read_again(write: Write) -> None:
    def first(path: Path) -> float:
        return float(read_csv_series(CsvSource(path)).values[0, 0])

    path = write("t,v\n0,1\n1,2\n")
    assert first(path) == 1
    path = write("t,v\n0,3\n1,2\n")
    os.utime(path, ns=(1, 1))
    assert first(path) == 3


def test_no_such_file(tmp_path: Path) -> None:
    field, message = only_problem(tmp_path / "nowhere.csv")
    assert field == "csv" and message.startswith("there is no file 'nowhere.csv'") and str(tmp_path) not in message
    assert "is not a file: name the CSV itself" in only_problem(tmp_path)[1]


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        ("", "csv", "is empty"),
        ("\n  \n,,\n", "csv", "is empty"),
        ("t,v\n", "csv", "has a header and no rows"),
        (b"PK\x03\x04\xff\xfe", "csv", "is not UTF-8 text"),
        ("t,v\n1,2\n".encode("utf-16"), "csv", "is not UTF-8 text"),
        (b"t\0,v\n0,1\n", "csv", "is not a text file"),
        ("0.0,169.5\n0.1,398.0\n", "csv", "its first line holds data ('0.0', '169.5'), not names: put a line such as"),
        ("2024-01-01T00:00,1,dry\n2024-01-01T01:00,2,wet\n", "csv", "its first line holds data ('2024-01-01T00:00', '1', 'dry')"),
        (",t,v\n0,0.1,5\n1,0.2,6\n", "time_column", "the first column has no name, as row numbers have not: name the column"),
        ("t,\n0,1\n", "csv", "names no column but that of the times"),
        ("t;v\n0;1\n", "separator", "the header 't;v' is one column when split by ',': write separator: \";\""),
        ("t\tv\n0\t1\n", "separator", 'write separator: "\\t"'),
        ("v\n1\n2\n", "csv", "its first line is one column, 'v'"),
        ("# from the logger\nt,v\n0,1\n", "csv", "its first line is one column, '# from the logger'"),
        ("t,v,v\n0,1,2\n", "csv", "its header has a name more than once ('v')"),
        ('t,v\n0,"1\n' + "1,2\n" * 40_000, "csv", "look for a quote that is never closed"),
        ('t,"v\n0,1\n1,2\n', "csv", "look for a quote that is never closed"),
    ],
)
def test_a_file_that_is_no_table(write: Write, content: str | bytes, field: str, message: str) -> None:
    found = only_problem(write(content))
    assert found[0] == field and message in found[1]


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"time_column": "time"}, "time_column", "the CSV has no column 'time'; it has: 't', 'level', 'note'"),
        ({"value_columns": ["Levle"]}, "value_columns", "no column 'Levle'; did you mean 'level'? it has"),
        ({"value_columns": ["level", "t"]}, "value_columns", "has the time column 't' among them"),
        ({"value_columns": ["level", "level"]}, "value_columns", "names a column twice"),
        ({"value_columns": []}, "value_columns", "must name a column at least"),
        ({"separator": ", "}, "separator", "must be one character"),
        ({"separator": "tab"}, "separator", 'such as ",", ";" or "\\t"'),
        ({"separator": '"'}, "separator", "must be one character"),
        ({"separator": ""}, "separator", "must be one character"),
    ],
)
def test_columns_that_are_not_there(write: Write, values: dict[str, Any], field: str, message: str) -> None:
    found = only_problem(write("t,level,note\n0,1,a\n1,2,b\n"), **values)
    assert found[0] == field and message in found[1]


def test_two_missing_columns_are_told_together(write: Write) -> None:
    found = problems(write(table(regular(20))), time_column="x", value_columns=["y", "v"])
    assert [field for field, _ in found] == ["time_column", "value_columns"]


@pytest.mark.parametrize("cell", ["", "  ", "NaN", "NA", "n/a", "null", "-"])
def test_missing_values_are_told_with_their_lines(write: Write, cell: str) -> None:
    rows = regular(20)
    rows[3] = f"0.3,{cell}"
    field, message = only_problem(write(table(rows)))
    shown = repr(cell) if cell.strip() else "empty"
    assert field == "csv" and message.startswith(f"has missing values: line 5, column 'v': {shown}: fill the gaps")


@pytest.mark.parametrize("cell", ["abc", "inf", "-Infinity", "1_000", "12 %", '"1,5"'])
def test_cells_that_are_no_finite_numbers_are_told(write: Write, cell: str) -> None:
    rows = regular(20)
    rows[0] = f"0.0,{cell}"
    _, message = only_problem(write(table(rows)))
    assert f"has values that are no finite numbers: line 2, column 'v': {cell.strip(chr(34))!r}: write numbers" in message


def test_of_many_faults_of_a_kind_three_are_shown(write: Write) -> None:
    rows = [f"{index},x{index}" if index % 2 else f"{index}," for index in range(1000)]
    found = [message for _, message in problems(write(table(rows)))]
    assert len(found) == 2 and all(re.search(r"(line \d+, .*){3} and 497 more: ", message) for message in found)


def test_a_huge_cell_is_not_quoted_in_full(write: Write) -> None:
    assert len(only_problem(write(table([*regular(20), f"2,{'z' * 90_000}"])))[1]) < 300


def test_lines_are_counted_as_an_editor_does(write: Write) -> None:
    content = 't,note,v\n0,"two\nlines",1\n\n1,x,2\n2,y,?\n'
    assert "line 6, column 'v': '?'" in only_problem(write(content), value_columns=["v"])[1]


def test_rows_of_another_length_are_told(write: Write) -> None:
    rows = [*regular(20), "2.0,1,5", "2.1"]
    _, message = only_problem(write(table(rows)))
    assert "rows that do not have 2 cells, as the header has: line 22 has 3, line 23 has 1: remove what is too much" in message


def test_unreadable_times_are_told(write: Write) -> None:
    _, message = only_problem(write(table(["0,1", "2024-01-01,2"])))
    assert "has unreadable times: line 3, column 't': '2024-01-01': write a finite number, like the first" in message
    _, message = only_problem(write(table(["yesterday,1", "today,2"])))
    assert "line 2, column 't': 'yesterday', line 3, column 't': 'today': write finite numbers or ISO 8601" in message
    _, message = only_problem(write(table(["2024-01-01,1", "2024-01-02T00:00Z,2", "2024-01-03,3"])))
    assert "line 3, column 't': '2024-01-02T00:00Z': write an ISO 8601 timestamp without a time zone, like the first" in message


def test_a_first_time_that_is_missing_does_not_decide_what_times_are(write: Write) -> None:
    _, message = only_problem(write(table([",1", "2024-01-02,2", "2024-01-03,3"])))
    assert message.startswith("has missing values: line 2, column 't': empty: ")


def test_time_that_goes_back_is_told(write: Write) -> None:
    rows = regular(20)
    rows[4], rows[5] = rows[5], rows[4]
    found = only_problem(write(table(rows)))
    assert found == ("csv", "its time goes back from 0.5 (line 6) to 0.4 (line 7): sort the rows by time")


def test_repeated_time_is_told(write: Write) -> None:
    rows = regular(20)
    rows[4] = rows[3]
    assert only_problem(write(table(rows))) == ("csv", "its time 0.3 stands on lines 5 and 6: keep one row for each time")


def test_irregular_time_is_told_with_the_step_and_the_median(write: Write) -> None:
    rows = regular(20)
    del rows[4], rows[10]
    path = write(table(rows))
    _, message = only_problem(path)
    assert (
        "its time is irregular: from 0.3 (line 5) to 0.5 (line 6) it steps by 0.2, and by 0.1 at the median (and 1 more"
        in message
    )
    assert "resample the series at regular times, or raise time_tolerance (now 0.01)" in message
    ForecastingTask.inspect(ForecastingConfiguration(csv=str(path), time_steps=5, time_tolerance=1.1))


def test_irregular_timestamps_are_told_as_timestamps(write: Write) -> None:
    rows = [f"2024-01-0{day},{day}" for day in (1, 2, 3, 5)]
    _, message = only_problem(write(table(rows)), time_steps=1)
    assert "from 2024-01-03 00:00:00 (line 4) to 2024-01-05 00:00:00 (line 5) it steps by 48 h, and by 24 h" in message


def test_one_fault_does_not_bring_those_that_follow_from_it(write: Write) -> None:
    rows = regular(20)
    rows[4], rows[9] = "0.4,", "0.2,1"
    assert len(problems(write(table(rows)), time_steps=50)) == 1


def test_fewer_rows_than_the_window(write: Write) -> None:
    field, message = only_problem(write(table(regular(20))), time_steps=96)
    assert field == "time_steps" and "the series has 20 values" in message and "lower time_steps to at most 18" in message
    field, message = only_problem(write(table(regular(2))), time_steps=96)
    assert field == "csv" and "2 values, too few for any window" in message


@given(content=st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "series.csv"
    path.write_bytes(content)
    try:
        series = read_csv_series(CsvSource(path))
    except ConfigurationError as error:
        assert error.problems
    else:
        assert isinstance(series, Series) and np.isfinite(series.values).all()


def test_a_series_too_short_for_its_fraction_is_told_that_fraction(write: Write) -> None:
    field, message = only_problem(write(table(regular(60))), split="chronological", val_fraction=0.01)
    assert field == "csv" and message.endswith("lengthen the series, or change val_fraction (now 0.01)")
