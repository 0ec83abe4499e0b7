"""The first Ctrl-C asks, the second or the end of the grace insists, and neither tears a hook."""

from __future__ import annotations

import signal
import threading

import pytest

from orchestrator.ray_executor.interruption import Interruption

LONG_S = 600.0


def press(number: signal.Signals = signal.SIGINT) -> None:
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    interruption = Interruption(LONG_S)
    with pytest.raises(KeyboardInterrupt), interruption.watched():
        assert not interruption.requested
        press(number)
        assert interruption.requested
        press(number)


def test_the_end_of_the_grace_interrupts() -> None:
    interruption = Interruption(0.05)
    with pytest.raises(KeyboardInterrupt), interruption.watched():
        press()
        threading.Event().wait(60)


def test_nothing_comes_after_the_watch() -> None:
    before = signal.getsignal(signal.SIGINT)
    interruption = Interruption(0.05)
    with interruption.watched():
        press()
    assert signal.getsignal(signal.SIGINT) is before
    assert interruption._timer is not None
    interruption._timer.join(60)


def test_a_hook_is_not_torn() -> None:
    interruption = Interruption(LONG_S)
    done = []
    with pytest.raises(KeyboardInterrupt), interruption.watched():
        press()
        with interruption.shielded():
            press()
            with interruption.shielded():
                done.append("inner")
            done.append("outer")
        done.append("never")
    assert done == ["inner", "outer"]


def test_off_the_main_thread_there_are_no_signals() -> None:
    interruption = Interruption(LONG_S)
    seen: list[bool] = []

    def watch() -> None:
        with interruption.watched():
            seen.append(interruption.requested)

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [False]
