"""Which data the trials of a study need: listed before the sweep where they are few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_space_text import study_space

from orchestrator.space.task_values import data_configurations, task_dimensions


def forecasting(task: str, more: str = "") -> Any:
    return study_space(f"task: {{name: forecasting, {task}}}\narchitectures: {{lstm: {{hidden_size: {{int: [2, 9]}}}}}}\n{more}")


def listed(space: Any, *names: str) -> list[tuple[Any, ...]] | None:
    found = data_configurations(space)
    return None if found is None else [tuple(getattr(configuration, name) for name in names) for configuration in found]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("seed: 3", [(3, 733)]),
        ("seed: {choice: [3, 4]}, time_steps: {choice: [8, 16]}", [(3, 733), (4, 733)]),
        ("series_length: {int: [100, 300], step: 100}", [(0, 100), (0, 200), (0, 300)]),
        ("seed: {choice: [3, 4]}, series_length: {choice: [99, 100]}", [(3, 99), (3, 100), (4, 99), (4, 100)]),
        ("seed: {choice: [3, 4]}, series_length: '${100 * task.seed}'", [(3, 300), (4, 400)]),
        (
            "seed: {choice: [3, 4], when: 'task.series_length > 99'}, series_length: {choice: [99, 100]}",
            [(0, 99), (3, 100), (4, 100)],
        ),
        ("val_fraction: {float: [0.1, 0.3]}, time_steps: {int: [8, 512], log: true}", [(0, 733)]),
        ("seed: {int: [0, 63]}", [(seed, 733) for seed in range(64)]),
        ("seed: {int: [0, 64]}", None),
        ("noise_std: {float: [0, 9]}", None),
        ("series_length: '${100 * hidden_size}'", [(0, 100 * size) for size in range(2, 10)]),
    ],
)
def test_the_data_of_a_study_are_listed_once_each(task: str, expected: Any) -> None:
    found = listed(forecasting(task), "seed", "series_length")
    assert found is None if expected is None else sorted(found or ()) == sorted(expected)


def test_dimensions_of_the_model_alone_are_not_the_tasks() -> None:
    space = forecasting("seed: {choice: [3, 4]}, time_steps: '${hidden_size * 2}'")
    assert set(task_dimensions(space)) == {"task.seed", "hidden_size"}
    assert set(task_dimensions(forecasting("seed: {choice: [3, 4]}"))) == {"task.seed"}


def test_what_a_constraint_excludes_is_not_listed() -> None:
    space = forecasting("seed: {choice: [3, 4]}", 'constraints: {require: ["task.seed > 3"]}')
    assert listed(space, "seed") == [(4,)]
    task = "{name: mqar, vocab_size: {choice: [64, 128]}, input_seq_len: 64, num_kv_pairs: 8}"
    broken = study_space(f"task: {task}\narchitectures: {{gpt: {{}}}}\n")
    assert listed(broken, "vocab_size") == [(128,)], "a rule of the task counts too"


def test_many_dimensions_are_no_obstacle_where_data_do_not_depend_on_them() -> None:
    irrelevant = "time_steps: {int: [8, 71]}, split_seed: {int: [0, 63]}, val_fraction: {choice: [0.1, 0.2, 0.3]}"
    assert listed(forecasting(f"{irrelevant}, seed: {{choice: [1, 2]}}"), "seed") == [(1,), (2,)]


def test_files_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for name, last in (("a", 2), ("b", 3)):
        (tmp_path / f"{name}.csv").write_text(f"time,value\n0,1\n1,{last}\n")
    files = ", ".join(str(tmp_path / name) for name in ("a.csv", "b.csv"))
    space = forecasting(f"csv: {{choice: [{files}]}}, time_steps: {{int: [2, 900]}}")
    assert [name.partition("#")[0] for (name,) in listed(space, "csv") or ()] == ["a.csv", "b.csv"]
