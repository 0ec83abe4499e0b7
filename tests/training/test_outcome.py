"""How exceptions are told: which of them are a lack of memory, and as which text."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from trainables.training.outcome import Payload, RunError, outcome_of_exception


def raised_by(action: object) -> BaseException:
    with pytest.raises(BaseException) as raised:
        action()  # type: ignore[operator]
    return raised.value


def after(cause: BaseException, wrapper: BaseException, *, explicit: bool) -> BaseException:
    """``wrapper``, raised while ``cause`` was handled."""

    def wrap() -> None:
        try:
            raise cause
        except type(cause) as error:
            if explicit:
                raise wrapper from error
            raise wrapper  # noqa: B904

    return raised_by(wrap)


@pytest.mark.parametrize("size", [2**58, 2**60])
def test_what_torch_and_numpy_really_raise_when_the_host_has_no_memory_is_oom(size: int) -> None:
    assert outcome_of_exception(raised_by(lambda: torch.empty(size, dtype=torch.uint8))) == "oom"
    assert outcome_of_exception(raised_by(lambda: torch.empty(size * 4, dtype=torch.float64))) == "oom"
    assert outcome_of_exception(raised_by(lambda: np.ones(size, dtype=np.uint8))) == "oom"
    assert outcome_of_exception(raised_by(lambda: bytearray(size))) == "oom"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. workers are out of shared memory."),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
    ids=str,
)
def test_a_lack_of_memory_is_oom_also_inside_other_exceptions(error: Exception) -> None:
    assert outcome_of_exception(error) == "oom"
    for explicit in (True, False):
        once = after(error, ValueError("no batch"), explicit=explicit)
        assert outcome_of_exception(once) == "oom"
        assert outcome_of_exception(after(once, KeyError("x"), explicit=not explicit)) == "oom"
    assert outcome_of_exception(ExceptionGroup("two", [ValueError(), error])) == "oom"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory slots: a bug in the module"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("DataLoader worker (pid 7) exited unexpectedly"),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RecursionError("maximum recursion depth exceeded"),
    ],
    ids=str,
)
def test_every_other_exception_is_failed(error: Exception) -> None:
    assert outcome_of_exception(error) == outcome_of_exception(after(KeyError(), error, explicit=True)) == "failed"


def test_an_exception_that_was_replaced_on_purpose_does_not_count() -> None:
    def replace() -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("a bug") from None

    assert outcome_of_exception(raised_by(replace)) == "failed"


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert outcome_of_exception(first) == "failed"


class Starved(Dataset):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.kind == "torch":
            return torch.empty(2**58, dtype=torch.uint8)
        raise MemoryError("host") if self.kind == "python" else ValueError("a bug")


@pytest.mark.parametrize(("kind", "outcome"), [("torch", "oom"), ("python", "oom"), ("bug", "failed")])
def test_a_lack_of_memory_in_a_process_that_loads_data_is_oom(kind: str, outcome: str) -> None:
    loader = DataLoader(Starved(kind), num_workers=1, multiprocessing_context=multiprocessing.get_context("fork"))
    error = raised_by(lambda: next(iter(loader)))
    assert "DataLoader worker" in str(error) and outcome_of_exception(error) == outcome


def test_the_text_of_an_error_is_without_secrets_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "s3cr3t-value-of-the-key")
    monkeypatch.setenv("HOME", "/home/somebody")
    told = RunError.of(raised_by(lambda: open("/home/somebody/s3cr3t-value-of-the-key")))  # noqa: SIM115
    text = told.message + told.traceback
    assert told.type == "FileNotFoundError" and "~/***" in told.message and "~/***" in told.traceback
    assert "s3cr3t" not in text and "somebody" not in text


def test_the_text_of_an_error_is_bounded_and_keeps_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "s3cr3t-value-of-the-key")
    straddling = "a" * 1_990 + "s3cr3t-value-of-the-key"
    told = RunError.of(after(ValueError("x" * 50_000), RuntimeError(straddling + "b" * 50_000), explicit=True))
    assert len(told.message) == 2_000 and told.message.startswith("aaa") and "s3cr" not in told.message
    assert len(told.traceback) == 8_000 and told.traceback.endswith("bbb\n")
    later = RunError.of(after(ValueError("x" * 50_000), RuntimeError("the last word"), explicit=True))
    assert "the last word" in later.traceback and len(later.traceback) == 8_000


def test_an_error_that_cannot_be_shown_is_told_all_the_same() -> None:
    class Unprintable(RuntimeError):
        def __str__(self) -> str:
            raise ValueError("not even this")

    told = RunError.of(raised_by(lambda: (_ for _ in ()).throw(Unprintable())))
    assert told.type == "Unprintable" and "Unprintable" in told.traceback
    assert outcome_of_exception(Unprintable()) == "failed"


def test_a_payload_is_plain_json(tmp_path: Path) -> None:
    payload = Payload("r1", None, 0, outcome="failed", error=RunError("E", "m", "t"), warning="w").to_dict()
    assert json.loads(json.dumps(payload)) == payload
    assert (payload["begun"], payload["warning"], payload["error"]["message"]) == (None, "w", "m")


def test_an_error_with_half_a_character_in_it_can_be_told() -> None:
    error = RunError.of(RuntimeError(b"a \xff b".decode("utf-8", "surrogateescape")))
    assert error.message == "a \\udcff b" and error.traceback.encode()
