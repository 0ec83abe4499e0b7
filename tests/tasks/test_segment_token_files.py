"""Flat files of token ids: what is read, and what is said where it cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segment_texts import configured, prepared, write_ids

from trainables.configuration import ConfigurationError
from trainables.tasks.segment_lm import SegmentLmTask


def problems(folder: Path, **values: Any) -> list[tuple[str | None, str]]:
    """What `inspect` says."""
    with pytest.raises(ConfigurationError) as caught:
        SegmentLmTask.inspect(configured(tokens=str(folder), **values))
    return caught.value.problems


def problem(folder: Path, **values: Any) -> tuple[str | None, str]:
    (found,) = problems(folder, **values)
    return found


@pytest.mark.parametrize(("dtype", "written", "largest"), [("uint16", "<u2", 65535), ("uint32", "<u4", 151_935)])
def test_ids_are_read_as_they_were_written(tmp_path: Path, dtype: str, written: str, largest: int) -> None:
    ids = np.random.default_rng(0).integers(0, largest + 1, 1000)
    ids[500] = largest
    values = {"tokens": str(write_ids(tmp_path / "ids", written, val=ids)), "token_dtype": dtype, "vocab_size": largest + 1}
    SegmentLmTask.inspect(configured(**values))
    task = prepared(tmp_path / "data", **values)
    assert task.data.targets("train") == 2999
    assert task.data.batch("val", np.array([480]), 48, task.device).ids[0].tolist() == ids[480:528].tolist()
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"train_tokens.npy", "val_tokens.npy"}


def test_a_folder_that_lacks_a_file_says_what_it_holds(tmp_path: Path) -> None:
    write_ids(tmp_path)
    (tmp_path / "val.bin").rename(tmp_path / "validation.bin")
    field, message = problem(tmp_path)
    assert field == "tokens" and message.startswith(
        f"there is no val.bin in the folder {tmp_path.name}, which holds train.bin, val"
    )
    for number in range(20):
        (tmp_path / f"other{number}").touch()
    assert "…" in problem(tmp_path)[1] and "other9" not in problem(tmp_path)[1]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    write_ids(tmp_path)
    assert problem(tmp_path / "train.bin")[0] == "tokens"
    assert "name one that holds train.bin and val.bin" in problem(tmp_path / "gone")[1]


def test_both_files_are_looked_at(tmp_path: Path) -> None:
    write_ids(tmp_path, train=[], val=[1, 2, 3])
    (empty_field, empty), (short_field, short) = problems(tmp_path)
    assert (empty_field, empty) == ("tokens", "train.bin is empty: write token ids into it")
    assert (short_field, short) == ("val_length", "val.bin holds 3 tokens, and a crop and its last target 49: lower it")


def test_a_crop_needs_a_token_behind_it(tmp_path: Path) -> None:
    write_ids(tmp_path, train=np.arange(25), val=np.arange(49))
    SegmentLmTask.inspect(configured(tokens=str(tmp_path)))
    write_ids(tmp_path, train=np.arange(24), val=np.arange(49))
    assert problem(tmp_path)[0] == "train_length"


def test_a_file_must_hold_whole_ids(tmp_path: Path) -> None:
    write_ids(tmp_path, dtype="<u4", val=np.arange(1001))
    with (tmp_path / "val.bin").open("ab") as file:
        file.write(b"\0\0")
    field, message = problem(tmp_path, token_dtype="uint32")
    assert field == "tokens"
    assert message.startswith("val.bin has 4,006 bytes, no whole number of uint32 ids of 4 bytes: change token_dtype")


def test_an_id_that_the_vocabulary_lacks_is_found_wherever_it_stands(tmp_path: Path) -> None:
    ids = np.zeros(3000, dtype=int)
    ids[-1] = 50256
    write_ids(tmp_path, train=ids)
    field, message = problem(tmp_path)
    assert field == "vocab_size"
    cure = "write vocab_size: 50257, or that of the model which the ids are for"
    assert message == f"train.bin, read as uint16, holds the id 50,256: {cure}"
    SegmentLmTask.inspect(configured(tokens=str(tmp_path), vocab_size=50257))


@pytest.mark.parametrize("largest", [250, 151_935])
def test_ids_of_uint32_are_not_read_as_twice_as_many_of_uint16(tmp_path: Path, largest: int) -> None:
    ids = np.random.default_rng(0).integers(0, largest + 1, 1000)
    write_ids(tmp_path, "<u4", train=ids, val=ids)
    for field, message in problems(tmp_path, vocab_size=largest + 1):
        assert field == "token_dtype" and "write token_dtype: uint32" in message
    SegmentLmTask.inspect(configured(tokens=str(tmp_path), vocab_size=largest + 1, token_dtype="uint32"))


def test_ids_that_are_all_small_are_no_sign_of_uint32(tmp_path: Path) -> None:
    ids = np.arange(1000) % 4
    write_ids(tmp_path, train=ids, val=ids * 0)
    SegmentLmTask.inspect(configured(tokens=str(tmp_path)))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    write_ids(tmp_path)
    SegmentLmTask.inspect(configured(tokens=str(tmp_path)))
    write_ids(tmp_path, train=np.full(3001, 300))
    assert problem(tmp_path)[0] == "vocab_size"
