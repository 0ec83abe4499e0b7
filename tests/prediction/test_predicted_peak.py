"""Laws of predictions, none of which needs a GPU."""

import random
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from small_predictions import WIDTHS, data_of, run

from benchmarks.memory_prediction import CASES, main, prediction_of
from trainables.memory.arithmetic import MIB
from trainables.prediction import PredictedPeak, predict_peak
from trainables.prediction import peak as peak_module
from trainables.training.request import ResolvedRun, RunRequest


def predicted(resolved: ResolvedRun, workspace_mib: float = 0.0) -> PredictedPeak:
    return predict_peak(resolved, data_of(resolved), workspace_mib=workspace_mib)


def weights_mib(resolved: ResolvedRun) -> float:
    return float(resolved.architecture.count(resolved.model, resolved.task).trainable) * 4 / MIB


@pytest.mark.parametrize("training", [{}, {"gradient_accumulation": 4}, {"optimizer": "adam", "clip_grad": None}])
def test_a_run_takes_at_least_weights_gradients_and_moments(training: dict[str, object]) -> None:
    resolved = run("gpt", **WIDTHS | {"dim": 128}, training=training)
    found = predicted(resolved)
    assert found.how == "traced" and found.reason == ""
    assert 4 * weights_mib(resolved) < found.allocated_mib <= found.reserved_mib


def test_an_evaluation_alone_takes_less_than_weights_twice_and_more_than_once() -> None:
    resolved = run("gpt", **WIDTHS | {"dim": 128}, training={"epochs": 0, "eval_batch_size": 1})
    assert weights_mib(resolved) < predicted(resolved).allocated_mib < 2 * weights_mib(resolved)


@pytest.mark.parametrize(("architecture", "task"), [("gpt", "mqar"), ("lstm", "forecasting")])
def test_larger_batches_take_more(architecture: str, task: str) -> None:
    peaks = [predicted(run(architecture, task, training={"batch_size": size})).allocated_mib for size in (8, 16, 32)]
    assert peaks == sorted(set(peaks))


def test_an_evaluation_of_large_batches_decides_the_peak() -> None:
    small, large = (predicted(run("gpt", training={"batch_size": 2, "eval_batch_size": size})) for size in (2, 64))
    assert large.allocated_mib > 2 * small.allocated_mib


def test_fused_attention_keeps_no_square_of_the_length() -> None:
    """Heads of a width that CUDA's kernel does not take do."""
    task = {"input_seq_len": 512, "vocab_size": 1024, "train_examples": 16, "val_examples": 8}
    fused, plain = (predicted(run("gpt", n_layers=1, n_heads=1, dim=8, dk=dk, dv=dk, task_values=task)) for dk in (8, 6))
    square = 8 * 512 * 512 * 4 / MIB
    assert fused.allocated_mib < square < plain.allocated_mib


def test_workspaces_are_added_once_for_each_direction() -> None:
    training, evaluating = run("gpt"), run("gpt", training={"epochs": 0})
    assert predicted(training, 16).allocated_mib - predicted(training).allocated_mib == pytest.approx(32)
    assert predicted(evaluating, 16).allocated_mib - predicted(evaluating).allocated_mib == pytest.approx(16)


def test_what_runs_take_does_not_depend_on_the_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    first = predicted(run("gpt", training={"lr": 1e-3}))
    monkeypatch.setattr(peak_module, "trace_run", lambda *_: pytest.fail("it was followed again"))
    assert predicted(run("gpt", training={"lr": 1e-2, "epochs": 3, "weight_decay": 0.5})) is first


def test_runs_that_cannot_be_followed_are_told_with_the_reason(tmp_path: Path) -> None:
    resolved = run("gpt")
    without_data = predict_peak(resolved, None)
    assert (without_data.how, without_data.reason) == ("arithmetic", "its data are not prepared")
    broken = predict_peak(resolved, tmp_path)
    assert broken.how == "arithmetic" and broken.reason.startswith("FileNotFoundError")
    base = {
        "architecture": "gpt",
        "dim": 16,
        "n_layers": 1,
        "n_heads": 1,
        "dk": 16,
        "dv": 16,
        "use_ffn": True,
        "training": {"epochs": 1},
    }
    retrieval = run("knn_lm", "language_modeling", base=base, training={"epochs": 0})
    found = predict_peak(retrieval, data_of(retrieval))
    assert found.how == "arithmetic" and "datastore" in found.reason
    for one in (without_data, broken, found):
        assert 0 < one.allocated_mib < one.reserved_mib


def test_a_run_is_followed_once_its_data_are_there(tmp_path: Path) -> None:
    resolved, data = run("unified_kv", dim=8), tmp_path / "data"
    assert predict_peak(resolved, data).how == "arithmetic"
    data.symlink_to(data_of(resolved))
    assert predict_peak(resolved, data).how == "traced"


def test_a_run_with_too_many_operations_is_estimated_by_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_module, "_MOST_OPERATIONS", 50)
    found = predicted(run("unified_kv", n_layers=3))
    assert found.how == "arithmetic" and "more than 50 operations" in found.reason


def test_tasks_that_tell_their_own_memory_are_believed() -> None:
    resolved = RunRequest(run="r", architecture="gpt", task="memory_footprint", artifacts=Path("nowhere")).resolved()
    found = predict_peak(resolved, None, workspace_mib=0)
    own = resolved.task_type.predicted_mib(resolved.architecture, resolved.model, resolved.task)
    assert (found.how, found.allocated_mib) == ("arithmetic", own)


def test_a_prediction_leaves_the_process_as_it_was() -> None:
    resolved = run("trime", "language_modeling", dim=16, n_layers=1, n_heads=2, training={"batch_size": 3})
    data = data_of(resolved)
    torch.manual_seed(3)
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    with torch.inference_mode():
        assert predict_peak(resolved, data).how == "traced"
        assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
    after = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert torch.zeros(1).device.type == "cpu"


def test_several_threads_may_ask_at_once() -> None:
    runs = [run("gpt", n_layers=layers, dim=24) for layers in (1, 2, 3, 4)]
    found: dict[int, PredictedPeak] = {}
    threads = [
        threading.Thread(target=lambda number=number: found.update({number: predicted(runs[number])})) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peaks = [found[number].allocated_mib for number in range(4)]
    assert all(one.how == "traced" for one in found.values()) and peaks == sorted(set(peaks))


def test_a_model_that_fits_no_host_is_followed_all_the_same() -> None:
    """2 TiB of weights, of which none is made."""
    resolved = run("gpt", **WIDTHS | {"dim": 2**17, "n_layers": 3})
    found = predicted(resolved)
    assert found.how == "traced" and found.allocated_mib > 4 * weights_mib(resolved) > 2**20


def assert_followed(name: str, artifacts: Path) -> None:
    found = prediction_of(name, artifacts, 32.0)
    assert (found.how, found.reason) == ("traced", "")


@pytest.mark.parametrize("name", ["gpt small", "lstm wide", "grouped_hierarchical_vq_mlp"])
def test_cases_of_the_benchmark_are_followed(name: str, tmp_path: Path) -> None:
    assert_followed(name, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_of_the_benchmark_is_followed(name: str, tmp_path: Path) -> None:
    assert_followed(name, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_benchmark_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["memory_prediction"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "no CUDA device" in capsys.readouterr().err
