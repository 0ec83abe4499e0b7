"""A process that has to leave soon ends its step, keeps a checkpoint of it and says so; one that is idle goes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import CPU, small_request

from trainables.heartbeat import Heartbeat
from trainables.notice import Notice
from trainables.training.checkpoint import LAST_CHECKPOINT
from trainables.training.keeper import CheckpointKeeper
from trainables.training.session import TrainingSession


@pytest.fixture
def sigterm() -> Iterator[list[int]]:
    """What reached the handler that was there before."""
    taken: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: taken.append(number))
    yield taken
    signal.signal(signal.SIGTERM, before)


def test_the_first_sigterm_while_a_step_is_under_way_gives_the_notice_and_the_second_is_as_ever(sigterm: list[int]) -> None:
    notice = Notice()
    notice.take_sigterm(lambda: True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert notice.given and not sigterm
    os.kill(os.getpid(), signal.SIGTERM)
    assert sigterm == [signal.SIGTERM]


def test_sigterm_to_an_idle_process_is_as_ever(sigterm: list[int]) -> None:
    notice = Notice()
    notice.take_sigterm(lambda: False)
    os.kill(os.getpid(), signal.SIGTERM)
    assert sigterm == [signal.SIGTERM] and not notice.given


def test_where_nobody_took_sigterm_before_it_ends_the_process() -> None:
    program = "import os; from trainables.notice import Notice; Notice().take_sigterm(lambda: False); os.kill(os.getpid(), 15)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 128 + signal.SIGTERM


def test_in_another_thread_no_signal_is_taken(sigterm: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Notice().take_sigterm, args=(lambda: True,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_answer_to_a_beat_is_awaited_by_nobody_and_heard_at_a_later_one() -> None:
    answers: dict[str, bool | None] = {"first": None}
    heartbeat = Heartbeat(lambda run: "first", float("inf"), lambda: 0.0, answers.__getitem__)
    heartbeat.begin("a")
    heartbeat.beat()
    assert not heartbeat.notice.given, "it has not come yet"
    answers["first"] = True
    heartbeat.beat()
    assert heartbeat.notice.given


def test_an_answer_that_cannot_be_had_is_nobody_s_error_and_means_nothing() -> None:
    def fail(asked: str) -> bool:
        raise ConnectionError("the actor died")

    for answer in (fail, lambda asked: False):
        heartbeat = Heartbeat(lambda run: "asked", 0.0, answer=answer)
        heartbeat.begin("a")
        heartbeat.beat()
        heartbeat.beat()
        assert not heartbeat.notice.given


def test_once_the_notice_is_given_each_step_writes_a_checkpoint_and_the_run_can_leave(tmp_path: Path) -> None:
    request, notice = small_request(tmp_path, checkpoint_seconds=3600.0), Notice()
    keeper, session = CheckpointKeeper(request, notice), TrainingSession(request, CPU)
    session.start()
    keeper.keep(session, session.step())
    assert not (tmp_path / "trial" / LAST_CHECKPOINT).exists() and not keeper.may_leave(session)
    notice.give()
    assert not keeper.may_leave(session), "the last step is not kept yet"
    keeper.keep(session, session.step())
    assert keeper.may_leave(session)
    written = TrainingSession(request, CPU)
    written.start()
    written.load(tmp_path / "trial" / LAST_CHECKPOINT)
    assert written.progress == session.progress == 2


def test_a_run_that_keeps_no_checkpoint_goes_on_as_long_as_it_can(tmp_path: Path) -> None:
    for request in (small_request(tmp_path, folder=None), small_request(tmp_path, folder=Path("/proc/nowhere"))):
        notice = Notice()
        notice.give()
        keeper, session = CheckpointKeeper(request, notice), TrainingSession(request, CPU)
        session.start()
        keeper.keep(session, session.step())
        assert not keeper.may_leave(session)


def test_a_run_that_has_just_been_taken_over_can_leave_at_once(tmp_path: Path) -> None:
    request = small_request(tmp_path, checkpoint_seconds=0.0)
    session = TrainingSession(request, CPU)
    session.start()
    CheckpointKeeper(request).keep(session, session.step())
    notice, other = Notice(), TrainingSession(request, CPU)
    notice.give()
    other.start()
    keeper = CheckpointKeeper(request, notice)
    keeper.continue_session(other)
    assert keeper.may_leave(other)
