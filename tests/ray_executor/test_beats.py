"""Beats are few, never fail, and a process is killed only when it is the one that was meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from trainables.heartbeat import Heartbeat, Sender, kill_process, start_of_process


def test_beats_are_told_once_an_interval_and_at_once_for_a_new_run() -> None:
    told: list[str] = []
    now = [0.0]
    heartbeat = Heartbeat(told.append, 5.0, lambda: now[0])
    heartbeat.beat()
    assert told == [], "no run, no beat"
    heartbeat.begin("a")
    for now[0] in (1.0, 4.9, 5.0, 7.0, 9.9, 10.0):
        heartbeat.beat()
    assert told == ["a"] * 3
    heartbeat.begin("b")
    heartbeat.end()
    now[0] = 100.0
    heartbeat.beat()
    assert told == ["a"] * 3 + ["b"]


def test_a_beat_that_cannot_be_told_is_nobody_s_error() -> None:
    def fail(run: str) -> None:
        raise ConnectionError("nobody there")

    heartbeat = Heartbeat(fail, 0.0)
    heartbeat.begin("a")
    heartbeat.beat()


@pytest.fixture
def stopped() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.wait()


def test_a_stopped_process_is_killed(stopped: subprocess.Popen[bytes]) -> None:
    assert kill_process(Sender("here", stopped.pid, start_of_process(stopped.pid)))
    assert stopped.wait(30) == -signal.SIGKILL


def test_another_process_of_the_same_id_is_left_alone(stopped: subprocess.Popen[bytes]) -> None:
    assert not kill_process(Sender("here", stopped.pid, start_of_process(stopped.pid) + "0"))
    assert not kill_process(Sender("here", stopped.pid, ""))
    assert stopped.poll() is None


def test_a_process_that_is_gone_is_nobody_s_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = start_of_process(process.pid)
    process.wait()
    assert not kill_process(Sender("here", process.pid, started))
    assert start_of_process(os.getpid()) == start_of_process(os.getpid()) != ""
