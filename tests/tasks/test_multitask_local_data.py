"""Rows of public datasets in local folders, in every format, and what is said where they do not fit."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trainables.configuration import ConfigurationError
from trainables.tasks._multitask.datasets import DATASETS
from trainables.tasks._multitask.labels import NoLabel, label_of
from trainables.tasks._multitask.local_data import local_examples
from trainables.tasks.multitask_classification import MultitaskClassificationTask

Rows = list[dict[str, Any]]
ROWS: dict[str, Rows] = {
    "20_newsgroups": [{"text": "A puck.", "label": "rec.sport.hockey"}, {"text": "A god.", "label": "alt.atheism"}],
    "boolq": [{"question": "is it", "passage": "It is.", "label": 1}, {"question": "is it", "passage": "No.", "label": 0}],
    "copa": [
        {"premise": "Rain.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect", "label": 0},
        {"premise": "Sun.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect", "label": 1},
    ],
    "cb": [{"premise": "It is.", "hypothesis": "No.", "label": 1}, {"premise": "It is.", "hypothesis": "Oh.", "label": 2}],
    "race_high": [
        {"article": "Ann ran.", "question": "Who?", "options": ["Ann", "Bob", "Cid", "Dan"], "answer": "A"},
        {"article": "Bob ran.", "question": "Who?", "options": ["Ann", "Bob", "Cid", "Dan"], "answer": "B"},
    ],
    "qnli": [{"question": "Who?", "sentence": "Ann.", "label": 0}, {"question": "Who?", "sentence": "So.", "label": 1}],
}
LABELS = {"20_newsgroups": (10, 0), "boolq": (1, 0), "copa": (0, 1), "cb": (1, 2), "race_high": (0, 1), "qnli": (0, 1)}


def write_lines(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_table(path: Path, rows: Rows) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        for row in rows:
            table.writerow({name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in row.items()})


def write_folder(folder: Path, name: str, rows: Rows, form: str = "jsonl", evaluated: str = "validation") -> Path:
    """``folder/name`` with ``rows`` in both parts; returns ``folder``."""
    home = folder / name
    home.mkdir(parents=True)
    if form in ("saved", "saved parts"):
        save_datasets(home, rows, evaluated, together=form == "saved")
        return folder
    for part in ("train", evaluated):
        {"jsonl": write_lines, "csv": write_table}[form](home / f"{part}.{form}", rows)
    return folder


def save_datasets(home: Path, rows: Rows, evaluated: str, *, together: bool) -> None:
    import datasets

    made = datasets.Dataset.from_list(rows)
    if together:
        datasets.DatasetDict({"train": made, evaluated: made}).save_to_disk(str(home))
        return
    for part in ("train", evaluated):
        made.save_to_disk(str(home / part))


@pytest.mark.parametrize("form", ["jsonl", "csv", "saved", "saved parts"])
@pytest.mark.parametrize("name", DATASETS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, form: str) -> None:
    examples = local_examples(name, write_folder(tmp_path, name, ROWS[name], form), 9, 9)
    prompts = [DATASETS[name].prompt(row) for row in ROWS[name]]
    assert examples.train == examples.validation
    assert [example.prompt for example in examples.train] == prompts
    assert tuple(example.label for example in examples.train) == LABELS[name]


def test_caps_take_the_first_rows_and_read_no_further(tmp_path: Path) -> None:
    broken = {"premise": "It is.", "hypothesis": "No.", "label": None}
    folder = write_folder(tmp_path, "cb", [*ROWS["cb"], broken])
    assert len(local_examples("cb", folder, 2, 1).train) == 2
    with pytest.raises(ConfigurationError, match="row 3 has no label"):
        local_examples("cb", folder, 3, 1)


def test_newsgroups_are_evaluated_on_their_test_part_and_rows_without_text_are_dropped(tmp_path: Path) -> None:
    rows = [{"text": None, "label": None}, {"text": " ", "label": "sci.med"}, *ROWS["20_newsgroups"]]
    folder = write_folder(tmp_path, "20_newsgroups", rows, evaluated="test")
    write_lines(folder / "20_newsgroups" / "validation.jsonl", rows[:3])
    examples = local_examples("20_newsgroups", folder, 2, 2)
    assert [example.label for example in examples.validation] == [10, 0] and examples.dropped == 4


def test_numbers_stand_for_what_the_file_itself_says(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sci.med", "alt.atheism"])}
    )
    made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(tmp_path / "20_newsgroups"))
    labels = [example.label for example in local_examples("20_newsgroups", tmp_path, 9, 9).train]
    assert [DATASETS["20_newsgroups"].labels[label] for label in labels] == ["sci.med", "alt.atheism"]


@pytest.mark.parametrize(
    ("value", "place"),
    [("true", 1), ("True", 1), (True, 1), (False, 0), (1, 1), ("0", 0), (1.0, 1), (" FALSE ", 0)],
)
def test_a_label_may_be_written_in_several_ways(value: Any, place: int) -> None:
    assert label_of(value, ("false", "true")) == place


@pytest.mark.parametrize("value", [None, "", "  ", -1, "-1", float("nan"), -1.0])
def test_an_empty_cell_and_a_hidden_label_are_none(value: Any) -> None:
    with pytest.raises(NoLabel):
        label_of(value, ("false", "true"))


@pytest.mark.parametrize("value", ["maybe", 2, "1.5", 0.5])
def test_what_is_no_label_is_said_with_those_that_are(value: Any) -> None:
    with pytest.raises(ValueError, match="is no label: write one of false, true, or its number, from 0 to 1"):
        label_of(value, ("false", "true"))


def changed(name: str, **cells: Any) -> Rows:
    first, second = ROWS[name]
    return [first, {key: value for key, value in {**second, **cells}.items() if value != "gone"}]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("cb", changed("cb", label=None), r"cb, train.jsonl, row 2 has no label \(column label\): fill it in, or remove the row"),
        ("qnli", changed("qnli", label=-1), "qnli, train.jsonl, row 2 has no label"),
        ("20_newsgroups", changed("20_newsgroups", label=""), "20_newsgroups, train.jsonl, row 2 has no label"),
        ("cb", changed("cb", label="gone"), "row 2 has no column label: use the columns of the public dataset"),
        ("boolq", changed("boolq", label="gone"), "row 2 has no column label or answer"),
        ("cb", changed("cb", label="perhaps"), "row 2, column label: 'perhaps' is no label: write one of entailment"),
        ("cb", changed("cb", premise="gone"), "row 2 has no column premise, it has hypothesis, label"),
        ("cb", changed("cb", premise=" "), "row 2 has no premise: fill it in, or remove the row"),
        ("cb", changed("cb", premise=3), "row 2: premise is no text but int"),
        ("race_high", changed("race_high", options=["a", "b"]), "row 2: options is no list of four texts"),
        ("race_high", changed("race_high", options="a b c d"), "row 2: options is no list of four texts"),
        ("cb", [], "cb, train.jsonl has no rows: give it some"),
    ],
)
def test_what_does_not_fit_is_named_with_task_part_row_and_cure(tmp_path: Path, name: str, rows: Rows, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        local_examples(name, write_folder(tmp_path, name, rows), 9, 9)
    assert [field for field, _ in caught.value.problems] == ["data"]


def test_a_missing_label_is_found_before_anything_starts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "cb", changed("cb", label=None))
    configuration = MultitaskClassificationTask.configuration_type.from_values({"tasks": ["cb"], "data": str(folder)})
    with pytest.raises(ConfigurationError, match=r"data: cb, train\.jsonl, row 2 has no label"):
        MultitaskClassificationTask.inspect(configuration)


def lines(*texts: str) -> bytes:
    return "\n".join(texts).encode()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "cb has no part called train: give it train.jsonl, train.csv or a saved dataset"),
        ({"train.jsonl": b"{}"}, "row 1 has no column premise|no part called validation or test"),
        ({"train.jsonl": b"", "train.csv": b""}, "cb has train.jsonl and train.csv: keep one of them"),
        ({"train.jsonl": lines("[1]"), "test.jsonl": b""}, "cb, train.jsonl, line 1 is no JSON object"),
        (
            {"train.jsonl": lines('{"premise"'), "test.jsonl": b""},
            "cb, train.jsonl, line 1 is no JSON .*: write an object",
        ),
        ({"train.jsonl": b"\xff", "test.jsonl": b""}, "cb, train.jsonl is not UTF-8 text: convert it"),
        ({"train.jsonl": b"[" * 10**5, "test.jsonl": b""}, "cb, train.jsonl, line 1 is no JSON"),
        ({"train.csv": b'premise,label\n"a,0\n', "test.csv": b""}, r"cb, train.csv, line \d cannot be read .*: close its quotes"),
        ({"train/state.json": b"{", "test.jsonl": b""}, "train cannot be read as a dataset of `save_to_disk`"),
        ({"dataset_dict.json": b"{", "test.jsonl": b""}, "cb cannot be read as a dataset of `save_to_disk`"),
    ],
)
def test_a_folder_that_cannot_be_read_is_said_with_its_cure(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "cb").mkdir()
    for name, content in files.items():
        (tmp_path / "cb" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "cb" / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        local_examples("cb", tmp_path, 9, 9)


def test_a_table_may_begin_with_a_byte_order_mark_and_have_line_breaks_in_its_cells(tmp_path: Path) -> None:
    (tmp_path / "cb").mkdir()
    for part in ("train", "validation"):
        (tmp_path / "cb" / f"{part}.csv").write_bytes('\ufeffpremise,hypothesis,label\n"a ""b"",\nc",d,neutral\n'.encode())
    (example,) = local_examples("cb", tmp_path, 9, 9).train
    assert example.label == 2 and example.prompt.context == 'a "b",\nc'


def test_a_task_without_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"there is no folder cb in {tmp_path.name}: put the rows of cb there"):
        local_examples("cb", tmp_path, 9, 9)


def parts_named(tmp_path: Path, names: Sequence[str]) -> Path:
    import datasets

    made = datasets.Dataset.from_list(ROWS["cb"])
    datasets.DatasetDict(dict.fromkeys(names, made)).save_to_disk(str(tmp_path / "cb"))
    return tmp_path


def test_a_saved_dataset_without_the_part_is_said_with_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the dataset cb has parts train, extra, and none called validation or test"):
        local_examples("cb", parts_named(tmp_path, ["train", "extra"]), 9, 9)


def test_a_saved_dataset_without_parts_is_refused(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS["cb"]).save_to_disk(str(tmp_path / "cb"))
    with pytest.raises(ConfigurationError, match="the dataset cb has no parts, and none called train"):
        local_examples("cb", tmp_path, 9, 9)
