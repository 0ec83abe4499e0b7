"""A run that is run again from its record gives the same figures and the same end; what differs is found and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from in_process_sweep import (
    EPOCHS,
    FIRST,
    SECOND,
    SPACE,
    change_record,
    command,
    events_of,
    files_of,
    record_sweep,
    register_variant,
)
from torch import Tensor

from orchestrator.sweep.folder import SweepFolder

PASSES_PER_EPOCH = 2


def reproduced(
    capsys: pytest.CaptureFixture[str], sweep: SweepFolder, *options: str, run: str = FIRST
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = command(f"{sweep.path}/{run}", "--json", *options)
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("run", [FIRST, SECOND])
def test_a_completed_run_reproduces_bit_for_bit(sweep: SweepFolder, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, threads = files_of(sweep), torch.get_num_threads()
    status, document = reproduced(capsys, sweep, run=run)
    assert (status, document["same"], document["identical"], document["tolerance"]) == (0, True, True, 0.0)
    assert {(value["step"], value["metric"]) for value in document["values"]} >= {
        (step, metric) for step in range(1, EPOCHS + 1) for metric in ("train/loss", "val/loss", "val/accuracy", "train/lr")
    } | {(0, "params/total"), (0, "memory/weights_mib")}
    assert all(value["difference"] == 0 for value in document["values"])
    assert not any(value["metric"].startswith(("time/", "throughput/", "memory/peak", "vram/")) for value in document["values"])
    assert document["outcome"] == {
        "recorded": f"completed at step {EPOCHS}",
        "reproduced": f"completed at step {EPOCHS}",
        "same": True,
    }
    assert all(origin["same"] for origin in document["provenance"].values())
    assert files_of(sweep) == before, "nothing is written into the sweep's folder"
    assert torch.get_num_threads() == threads


def test_the_copy_of_the_space_is_not_needed(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    sweep.space.unlink()
    status, document = reproduced(capsys, sweep)
    assert (status, document["identical"]) == (0, True)


def test_the_seeds_of_a_trial_are_told_apart(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    losses = [
        {value["step"]: value["reproduced"] for value in document["values"] if value["metric"] == "val/loss"}
        for _, document in (reproduced(capsys, sweep, run=run) for run in (FIRST, SECOND))
    ]
    assert losses[0] != losses[1]


def nudge(step: int, metric: str, factor: float) -> Any:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event["kind"] == "result" and event["run"] == FIRST and event["progress"] == step:
            event["metrics"][metric] *= factor
        return event

    return change


def test_a_changed_figure_is_found_and_its_place_named(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    change_record(sweep, nudge(3, "val/loss", 1 + 1e-9))
    assert command(f"{sweep.path}/{FIRST}") == 1
    shown = capsys.readouterr().out
    assert "val/loss at step 3: recorded" in shown and "verdict: differs" in shown
    status, document = reproduced(capsys, sweep)
    off = [(value["step"], value["metric"]) for value in document["values"] if value["difference"]]
    assert status == 1 and off == [(3, "val/loss")]
    assert document["largest"]["relative"] == pytest.approx(1e-9, rel=1e-3)
    assert reproduced(capsys, sweep, "--tolerance", "1e-6")[0] == 0
    assert reproduced(capsys, sweep, "--tolerance", "1e-12")[0] == 1
    assert reproduced(capsys, sweep, run=SECOND)[0] == 0, "the other run is as it was"


def test_a_figure_that_does_not_come_differs_at_any_tolerance(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event["kind"] == "result" and event["progress"] == 2:
            event["metrics"]["val/forgotten"] = 0.5
        return event

    change_record(sweep, change)
    status, document = reproduced(capsys, sweep, "--tolerance", "1")
    assert status == 1
    assert (document["largest"]["metric"], document["largest"]["reproduced"], document["largest"]["relative"]) == (
        "val/forgotten",
        None,
        None,
    )


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1", "much"])
def test_a_tolerance_that_would_say_nothing_is_refused(sweep: SweepFolder, tolerance: str) -> None:
    with pytest.raises(typer.BadParameter):
        command(f"{sweep.path}/{FIRST}", "--tolerance", tolerance)


def test_a_quick_look_compares_the_first_steps_alone(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    change_record(sweep, nudge(3, "val/loss", 2.0))
    status, document = reproduced(capsys, sweep, "--steps", "2")
    assert (status, document["steps"], document["outcome"]["same"]) == (0, 2, None)
    assert {value["step"] for value in document["values"]} == {0, 1, 2}
    assert reproduced(capsys, sweep, "--steps", "3")[0] == 1


def set_origin(key: str, value: str) -> Any:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event["kind"] == "begin":
            event["provenance"][key] = value
        return event

    return change


def test_other_data_than_recorded_are_an_error_and_the_run_happens(
    sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    change_record(sweep, set_origin("data", "0123456789abcdef"))
    status, document = reproduced(capsys, sweep)
    assert (status, document["same"], document["identical"]) == (1, False, False)
    assert document["provenance"]["data"]["recorded"] == ["0123456789abcdef"]
    assert document["steps"] == EPOCHS and all(value["difference"] == 0 for value in document["values"])


def test_prepared_data_that_were_changed_since_are_made_anew(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (answers,) = sweep.artifacts.glob("mqar-*/val_answers.npy")
    np.save(answers, np.load(answers) * 0 + 20)
    before = files_of(sweep)
    assert command(f"{sweep.path}/{FIRST}") == 0
    captured = capsys.readouterr()
    assert "made anew" in captured.err and "bit for bit" in captured.out
    assert files_of(sweep) == before


def test_the_data_of_the_sweep_are_used_where_they_are_those_of_the_record(
    sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.tasks.mqar import MqarTask

    made = []
    monkeypatch.setattr(MqarTask, "prepare", classmethod(lambda *arguments: made.append(arguments)))
    assert reproduced(capsys, sweep)[0] == 0
    assert not made


def test_another_torch_is_told_and_excuses_rounding(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    change_record(sweep, set_origin("torch", "1.0.0"))
    change_record(sweep, nudge(EPOCHS, "train/loss", 1.001))
    assert command(f"{sweep.path}/{FIRST}") == 0
    captured = capsys.readouterr()
    assert "torch: 1.0.0 then" in captured.err
    assert "the same within a relative difference of 0.01" in captured.out
    assert f"the largest difference is train/loss at step {EPOCHS}" in captured.out


@pytest.mark.parametrize(("recorded_threads", "threads"), [("1", "1"), ("3", "3"), ("many", "1"), ("0", "1")])
def test_as_many_threads_are_used_as_the_run_had(
    sweep: SweepFolder, recorded_threads: str, threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_record(sweep, set_origin("threads", recorded_threads))
    _, document = reproduced(capsys, sweep, "--steps", "1")
    assert document["provenance"]["threads"]["now"] == threads


def test_another_version_of_the_code_is_told_and_excuses_nothing(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    change_record(sweep, set_origin("code", "0123456789abcdef"))
    status, document = reproduced(capsys, sweep)
    assert (status, document["tolerance"], document["provenance"]["code"]["same"]) == (0, 0.0, False)


def test_a_record_without_provenance_says_so_and_is_held_to_the_bit(
    sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    change_record(sweep, lambda event: None if event["kind"] == "begin" else event)
    assert command(f"{sweep.path}/{FIRST}") == 0
    assert "data: not recorded then" in capsys.readouterr().err
    status, document = reproduced(capsys, sweep)
    assert (status, document["tolerance"], document["provenance"]["data"]["same"]) == (0, 0.0, None)


def test_a_run_that_went_on_from_a_checkpoint_reproduces_bit_for_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = record_sweep(tmp_path, dies_after=2)
    assert [event["continued_from"] for event in events_of(folder, "begin")] == [0, 2]
    status, document = reproduced(capsys, folder)
    assert (status, document["identical"], document["continued_from"]) == (0, True, [2])
    assert {value["step"] for value in document["values"]} == set(range(EPOCHS + 1))


@pytest.mark.parametrize("ending", [{"lost_after": 2}, {"interrupted_after": 2}])
def test_a_run_that_did_not_end_by_itself_is_run_to_its_last_step(
    ending: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record_sweep(tmp_path, **ending)
    status, document = reproduced(capsys, folder)
    assert (status, document["identical"], document["steps"], document["recorded_steps"]) == (0, True, 2, 2)
    assert document["outcome"]["same"] is None, "its end is not compared"


def test_a_stopped_run_is_run_to_the_step_at_which_it_was_stopped(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def change(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["kind"] == "result" and event["progress"] > 3:
            return None
        return event | {"outcome": "stopped"} if event["kind"] == "outcome" else event

    change_record(sweep, change)
    status, document = reproduced(capsys, sweep)
    assert (status, document["identical"], document["steps"]) == (0, True, 3)


def raises_in_epoch_3(passes: int, states: Tensor) -> Tensor:
    if passes > 2 * PASSES_PER_EPOCH:
        raise ValueError("a bug of its own")
    return states


def explodes_in_epoch_3(passes: int, states: Tensor) -> Tensor:
    return states * float("nan") if passes > 2 * PASSES_PER_EPOCH else states


def space_of(architecture: str) -> str:
    return SPACE.replace("gpt: {}", f"{architecture}: {{}}")


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        (raises_in_epoch_3, "failed", "ValueError: a bug of its own"),
        (explodes_in_epoch_3, "diverged", "the training loss is nan"),
    ],
)
def test_a_bad_end_comes_again_at_the_same_step(
    change: Any, outcome: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_variant(monkeypatch, "variant", change)
    folder = record_sweep(tmp_path, space_of("variant"))
    status, document = reproduced(capsys, folder, run="variant-0000-s0")
    assert (status, document["identical"], document["outcome"]["same"]) == (0, True, True)
    assert document["outcome"]["recorded"].startswith(f"{outcome} at step 3") and words in document["outcome"]["reproduced"]


def test_a_run_that_failed_before_its_first_step_is_compared_by_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.tasks.mqar import MqarTask

    def broken(task: MqarTask, *arguments: Any) -> None:
        raise ValueError("no data today")

    monkeypatch.setattr(MqarTask, "__init__", broken)
    folder = record_sweep(tmp_path)
    status, document = reproduced(capsys, folder)
    assert (status, document["identical"], document["outcome"]["same"]) == (0, False, True), (
        "no figure is identical: there is none"
    )
    monkeypatch.undo()
    assert reproduced(capsys, folder)[0] == 1


def test_a_lost_run_without_results_cannot_be_compared(sweep: SweepFolder) -> None:
    def change(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["kind"] == "outcome":
            event |= {"outcome": "failed", "error": {"type": "WorkerDied", "message": "it died", "traceback": ""}}
        return None if event["kind"] in ("result", "begin") else event

    change_record(sweep, change)
    with pytest.raises(FileNotFoundError, match="nothing that could be compared"):
        command(f"{sweep.path}/{FIRST}")


def test_a_failure_that_names_a_file_is_the_same_in_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.tasks.mqar import MqarTask

    def unreadable(task: MqarTask, module: Any, batch: Any) -> Any:
        raise OSError(f"{task.folder / 'train_inputs.npy'} cannot be read")

    monkeypatch.setattr(MqarTask, "loss", unreadable)
    folder = record_sweep(tmp_path)
    status, document = reproduced(capsys, folder)
    assert (status, document["outcome"]["same"]) == (0, True)
    assert str(folder.artifacts) in document["outcome"]["reproduced"]


def test_a_failure_that_does_not_come_again_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_variant(monkeypatch, "variant", raises_in_epoch_3)
    folder = record_sweep(tmp_path, space_of("variant"))
    register_variant(monkeypatch, "variant", lambda passes, states: states)
    status, document = reproduced(capsys, folder, run="variant-0000-s0")
    assert (status, document["outcome"]["same"]) == (1, False)
    assert document["steps"] <= EPOCHS, "it is not run far beyond the recorded end"


def test_a_failure_with_other_words_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_variant(monkeypatch, "variant", raises_in_epoch_3)
    folder = record_sweep(tmp_path, space_of("variant"))

    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event["kind"] == "outcome":
            event["error"]["message"] = "another bug"
        return event

    change_record(folder, change)
    assert command(f"{folder.path}/variant-0000-s0") == 1
    assert "another bug" in capsys.readouterr().out


def test_a_completed_run_that_fails_now_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_variant(monkeypatch, "variant", lambda passes, states: states)
    folder = record_sweep(tmp_path, space_of("variant"))
    register_variant(monkeypatch, "variant", raises_in_epoch_3)
    status, document = reproduced(capsys, folder, run="variant-0000-s0")
    assert (status, document["outcome"]["same"]) == (1, False)
    assert "a bug of its own" in document["outcome"]["reproduced"]
    assert {value["step"] for value in document["values"] if value["reproduced"] is None} == {3, 4}
