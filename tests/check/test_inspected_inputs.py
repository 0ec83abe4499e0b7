"""What a task says of its files is told where the search space names them, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.check import check_feasibility
from orchestrator.check.inputs import inspected_configurations
from orchestrator.command_line.app import run
from orchestrator.document import Diagnostic
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification
from trainables.tasks.forecasting import ForecastingTask

GOOD = "".join(["time,value,other\n", *(f"{hour},{hour % 7},{hour % 5}\n" for hour in range(60))])


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def specification(folder: Path, task: str, lstm: str = "{}", more: str = "") -> SweepSpecification:
    text = f"task: {{name: forecasting, {task}}}\narchitectures:\n  lstm: {lstm}\n  other: {{architecture: lstm}}\n{more}"
    return read_search_space(write(folder / "space.yaml", text))


def found(specified: SweepSpecification) -> list[Diagnostic]:
    return check_feasibility(specified)[1].found


def test_a_good_file_is_no_mistake(tmp_path: Path) -> None:
    write(tmp_path / "good.csv", GOOD)
    assert found(specification(tmp_path, "csv: good.csv, time_steps: {int: [4, 16]}")) == []


FAULTS = {
    "missing values": (GOOD.replace("\n9,2,4\n", "\n9,,4\n"), "task.csv", "line 11"),
    "no numbers": (GOOD.replace("\n9,2,4\n", "\n9,two,4\n"), "task.csv", "'two'"),
    "unsorted": (GOOD.replace("\n9,2,4\n", "\n90,2,4\n"), "task.csv", "time"),
    "irregular": (GOOD.replace("\n9,2,4\n", "\n9.4,2,4\n"), "task.csv", "time"),
    "too few rows": ("time,value\n0,1\n1,2\n2,3\n", "task.time_steps", "too few"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_told_once_at_its_field(fault: str, tmp_path: Path) -> None:
    text, path, words = FAULTS[fault]
    write(tmp_path / "bad.csv", text)
    (diagnostic,) = found(specification(tmp_path, "csv: bad.csv, time_steps: 8"))
    assert (diagnostic.line, diagnostic.path) == (1, path), diagnostic
    assert words in diagnostic.message and diagnostic.column > 20


def test_a_missing_column_is_told_where_the_column_is_named_else_where_the_file_is(tmp_path: Path) -> None:
    write(tmp_path / "good.csv", GOOD)
    (diagnostic,) = found(specification(tmp_path, "csv: good.csv, time_steps: 4, value_columns: [valeu]"))
    assert diagnostic.path == "task.value_columns" and "valeu" in diagnostic.message and "value" in diagnostic.message
    write(tmp_path / "other.csv", GOOD.replace(",", ";"))
    (diagnostic,) = found(specification(tmp_path, "csv: other.csv, time_steps: 4"))
    assert diagnostic.path == "task.csv" and diagnostic.message.startswith("`separator` (other.csv): ")


def test_an_entry_of_its_own_task_is_told_there(tmp_path: Path) -> None:
    write(tmp_path / "good.csv", GOOD), write(tmp_path / "bad.csv", "time,value\n")
    (diagnostic,) = found(specification(tmp_path, "csv: good.csv, time_steps: 4", "{task: {csv: bad.csv}}"))
    assert (diagnostic.line, diagnostic.path) == (3, "architectures.lstm.task.csv")
    assert diagnostic.message.startswith("`csv` (bad.csv): ")


def test_few_searched_fields_are_looked_at_in_all_combinations(tmp_path: Path) -> None:
    write(tmp_path / "long.csv", GOOD), write(tmp_path / "short.csv", "".join(GOOD.splitlines(keepends=True)[:31]))
    (diagnostic,) = found(specification(tmp_path, "csv: {choice: [long.csv, short.csv]}, time_steps: {choice: [8, 40]}"))
    assert diagnostic.path == "task.time_steps" and "30 values" in diagnostic.message
    assert diagnostic.message.startswith("`time_steps` (short.csv): ")


def test_many_searched_fields_are_looked_at_one_by_one(tmp_path: Path) -> None:
    write(tmp_path / "good.csv", GOOD), write(tmp_path / "bad.csv", "time,value\n")
    task = "csv: {choice: [good.csv, bad.csv]}, time_steps: {int: [4, 400]}, split_seed: {choice: SEEDS}"
    specified = specification(tmp_path, task.replace("SEEDS", str(SEEDS)))
    diagnostics = found(specified)
    assert [diagnostic.path for diagnostic in diagnostics] == ["task.csv", "task.time_steps"]
    assert "bad.csv" in diagnostics[0].message and "400 time steps" in diagnostics[1].message
    looked_at = [(configuration.csv is not None, configuration.time_steps) for configuration in inspected(specified)]
    assert set(looked_at) == {(True, 4), (True, 400)}


SEEDS = list(range(33))


def inspected(specified: SweepSpecification) -> list[object]:
    return list(inspected_configurations(specified.spaces[0]))


def test_what_no_trial_can_have_is_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "good.csv", GOOD)
    require = 'constraints: {require: ["task.time_steps <= 16"]}'
    assert found(specification(tmp_path, "csv: good.csv, time_steps: {choice: [4, 16, 400]}", more=require)) == []


def test_the_task_is_given_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "good.csv", GOOD)
    seen = []
    monkeypatch.setattr(ForecastingTask, "inspect", classmethod(lambda cls, configuration: seen.append(configuration.csv)))
    assert found(specification(tmp_path, "csv: good.csv, time_steps: 4")) == [] and seen == [str(path)]


def test_a_file_that_is_gone_since_is_no_mistake_of_the_space(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.csv", "time,value\n")
    specified = specification(tmp_path, "csv: bad.csv, time_steps: 4")
    assert len(found(specified)) == 1
    write(path, GOOD)
    assert found(specified) == [], "nor is one of another content, of which nothing is known"
    path.unlink()
    assert found(specified) == []


def test_data_of_a_file_must_be_listable(tmp_path: Path) -> None:
    names = [f"column{index}" for index in range(70)]
    rows = "\n".join(",".join(map(str, range(row, row + 71))) for row in range(40))
    write(tmp_path / "wide.csv", f"time,{','.join(names)}\n{rows}\n")
    few, many = ([[name] for name in names[:size]] for size in (60, 70))
    assert found(specification(tmp_path, f"csv: wide.csv, time_steps: 4, value_columns: {{choice: {json.dumps(few)}}}")) == []
    (diagnostic, _) = found(
        specification(tmp_path, f"csv: wide.csv, time_steps: 4, value_columns: {{choice: {json.dumps(many)}}}")
    )
    assert diagnostic.path == "task.csv" and "too many to be listed" in diagnostic.message


def test_check_and_plan_and_run_refuse_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "bad.csv", "time,value\n")
    specification(tmp_path, "csv: bad.csv, time_steps: 4")
    space, storage = str(tmp_path / "space.yaml"), tmp_path / "sweeps"
    assert run(["check", space, "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert error["path"] == "task.csv"
    for command in (["plan", space], ["run", space, "--yes", "--storage", str(storage)]):
        assert run(command) == 2
        assert "bad.csv" in capsys.readouterr().err
    assert not storage.exists()


def test_a_field_that_cannot_be_computed_is_named_with_the_reason(tmp_path: Path) -> None:
    groups = '{architecture: grouped_vq_mlp, groups: {list: 4, length: "${dim // 100}"}}'
    (diagnostic,) = found(specification(tmp_path, "time_steps: 8", groups))
    assert diagnostic.hint.startswith("`groups` cannot be computed: the length of a list is a whole number from 1 to 64, got 0")
