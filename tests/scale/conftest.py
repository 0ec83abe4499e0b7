"""The architecture and the task that do no work, in this process for as long as a test lasts: others look at all there are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import _zero_work

sys.path.append(str(Path(__file__).parents[1] / "sweep"))


@pytest.fixture
def zero_work() -> Iterator[None]:
    _zero_work.register()
    yield
    _zero_work.unregister()
