"""Waiting for what other processes do: asked again and again, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(ask: Callable[[], Found], seconds: float, what: str, every: float = 0.1) -> Found:
    """Asks every ``every`` seconds until the answer is true, and returns it.

    Raises:
        AssertionError: it was not within ``seconds``; the message names ``what``.
    """
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(every)
    return answer
