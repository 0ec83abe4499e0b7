"""Workers that follow a worker that died: no step is missing, none is told with other numbers, the end is told once more."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import CPU, Intercepted, register_variant, small_request, without_clocks

from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession
from trainables.training.worker import RunWorker


def advance(request: RunRequest, steps: int | None = None) -> list[dict[str, Any]]:
    """The payloads of a worker that dies after ``steps`` of them, or of one that lives to the end."""
    worker = RunWorker(CPU)
    worker.start(request)
    payloads = [worker.advance()]
    while payloads[-1]["outcome"] is None and len(payloads) != steps:
        payloads.append(worker.advance())
    return payloads


def told(payload: dict[str, Any]) -> tuple[int, str | None, dict[str, float]]:
    return payload["progress"], payload["outcome"], without_clocks(payload["metrics"])


@pytest.mark.parametrize("keep", ["last", "best", "none"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_next_worker_repeats_the_step_of_the_checkpoint_and_goes_on(tmp_path: Path, keep: Any, steps: int) -> None:
    expected = advance(small_request(tmp_path / "alone", training={"epochs": 4}))
    request = small_request(tmp_path, keep_checkpoints=keep, checkpoint_seconds=0.0, training={"epochs": 4})
    dead = advance(request, steps)
    payloads = advance(request)
    assert [told(payload) for payload in payloads] == [told(payload) for payload in expected[steps - 1 :]]
    repeated = {name: value for name, value in payloads[0]["metrics"].items() if not name.startswith("memory/")}
    assert repeated.items() <= dead[-1]["metrics"].items(), "the clocks too are those of then"
    assert payloads[0]["begun"]["continued_from"] == steps


def test_a_step_whose_checkpoint_was_written_but_never_told_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is killed between the two, at the only place where a checkpoint is ahead of what the driver knows."""

    class Killed(BaseException):
        pass

    request = small_request(tmp_path, checkpoint_seconds=0.0)
    worker = RunWorker(CPU)
    worker.start(request)
    seen = [worker.advance()]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        save = TrainingSession.save

        def save_and_die(session: TrainingSession, path: Path) -> None:
            save(session, path)
            raise Killed

        patch.setattr(TrainingSession, "save", save_and_die)
        worker.advance()
    following = advance(request)
    assert [payload["progress"] for payload in seen + following] == [1, 2, 3]
    expected = advance(small_request(tmp_path / "alone"))
    assert [told(payload) for payload in seen + following] == [told(payload) for payload in expected]


def test_a_checkpoint_from_some_steps_ago_is_gone_on_from(tmp_path: Path) -> None:
    request = small_request(tmp_path, training={"epochs": 5})
    worker = RunWorker(CPU)
    worker.start(request)
    first = [worker.advance(), worker.advance()]
    worker.stop()
    before_death = advance(small_request(tmp_path, training={"epochs": 5}, checkpoint_seconds=3600.0), 3)
    assert [payload["progress"] for payload in before_death] == [2, 3, 4]
    after_death = advance(request)
    assert [payload["progress"] for payload in after_death] == [2, 3, 4, 5]
    assert [told(p) for p in after_death[:3]] == [told(p) for p in before_death] and told(after_death[0]) == told(first[1])


@pytest.mark.parametrize("keep", ["last", "best", "none"])
def test_a_finished_run_that_is_asked_for_again_repeats_its_result(tmp_path: Path, keep: Any) -> None:
    last = advance(small_request(tmp_path, keep_checkpoints=keep))[-1]
    (again,) = advance(small_request(tmp_path, keep_checkpoints=keep))
    assert told(again) == told(last) == (3, "completed", without_clocks(last["metrics"]))
    assert again["metrics"]["time/total_s"] == last["metrics"]["time/total_s"]
    assert again["begun"]["continued_from"] == 3 and again["once"] == advance(small_request(tmp_path / "x"))[0]["once"]


def test_how_a_run_began_is_in_the_first_payload_of_each_worker_alone(tmp_path: Path) -> None:
    request = small_request(tmp_path, checkpoint_seconds=0.0)
    lives = [advance(request, 2), advance(request)]
    assert [[payload["begun"] is not None for payload in life] for life in lives] == [[True, False], [True, False]]
    assert [life[0]["begun"]["continued_from"] for life in lives] == [0, 2]
    provenances = [life[0]["begun"]["provenance"] for life in lives]
    assert provenances[0] == provenances[1] and len(provenances[0]["code"]) == len(provenances[0]["data"]) == 16


def test_a_worker_tells_of_each_of_its_runs_how_it_began(tmp_path: Path) -> None:
    worker = RunWorker(CPU)
    for run in ("r1", "r2"):
        worker.start(small_request(tmp_path, run=run, folder=tmp_path / run))
        assert worker.advance()["begun"]["continued_from"] == 0 and worker.advance()["begun"] is None


def test_a_run_that_could_not_be_set_up_never_began(tmp_path: Path) -> None:
    (payload,) = advance(small_request(tmp_path, architecture="no_such"))
    assert (payload["outcome"], payload["begun"], payload["warning"]) == ("failed", None, None)


def test_a_run_that_fails_in_its_first_step_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: Intercepted, states: Any) -> Any:
        raise ValueError("a bug")

    register_variant(monkeypatch, "failing", lambda inner: Intercepted(inner, fail))
    (payload,) = advance(small_request(tmp_path, architecture="failing"))
    assert payload["outcome"] == "failed" and payload["begun"]["continued_from"] == 0


def test_a_run_that_is_interrupted_in_the_middle_of_a_step_keeps_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(module: Intercepted, states: Any) -> Any:
        if module.calls == 10:
            raise KeyboardInterrupt
        return states

    register_variant(monkeypatch, "interrupted", lambda inner: Intercepted(inner, interrupt))
    request = small_request(tmp_path, architecture="interrupted")
    worker = RunWorker(CPU)
    worker.start(request)
    worker.advance()
    with pytest.raises(KeyboardInterrupt):
        worker.advance()
    assert not worker.save(tmp_path / "half.pt") and not (tmp_path / "half.pt").exists()
    worker.stop()
    assert not (tmp_path / "trial" / LAST_CHECKPOINT).exists()


def test_an_improvement_whose_best_checkpoint_was_lost_is_kept_when_it_is_repeated(tmp_path: Path) -> None:
    request = small_request(tmp_path, keep_checkpoints="best", checkpoint_seconds=0.0)
    advance(request, 1)
    (tmp_path / "trial" / BEST_CHECKPOINT).unlink()
    advance(request, 1)
    best = TrainingSession(request, CPU)
    best.start()
    best.load(tmp_path / "trial" / BEST_CHECKPOINT)
    assert best.progress == 1


def test_a_state_that_is_loaded_by_hand_is_repeated_too(tmp_path: Path) -> None:
    worker, other = RunWorker(CPU), RunWorker(CPU)
    worker.start(small_request(tmp_path, folder=None))
    payloads = [worker.advance(), worker.advance()]
    assert worker.save(tmp_path / "c.pt")
    other.start(small_request(tmp_path, folder=None))
    other.load(tmp_path / "c.pt")
    again = other.advance()
    assert told(again) == told(payloads[1]) and again["begun"]["continued_from"] == 2
    assert other.advance()["outcome"] == "completed"
