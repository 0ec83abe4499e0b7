"""Runs are predicted while the control loop listens to others."""

from __future__ import annotations

import threading
import time

from packed_runs import request

from orchestrator.packing.ahead import Ahead
from trainables.training.request import RunRequest

WAIT_S = 30.0


def wait_until_known(ahead: Ahead, run: RunRequest) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ahead.is_known(run):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_who_asks_does_not_wait_and_each_run_is_predicted_once() -> None:
    may_end, predicted = threading.Event(), list[str]()

    def predict(run: RunRequest) -> None:
        assert may_end.wait(WAIT_S)
        predicted.append(run.run)

    ahead, one, two = Ahead(predict), request("one"), request("two")
    assert not ahead.is_known(one) and not ahead.is_known(one) and not ahead.is_known(two) and not predicted
    may_end.set()
    wait_until_known(ahead, one)
    wait_until_known(ahead, two)
    assert predicted == ["one", "two"]


def test_a_prediction_that_fails_holds_nobody_up() -> None:
    ahead, run = Ahead(lambda run: None), request("one")
    wait_until_known(ahead, run)
