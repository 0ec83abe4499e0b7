"""Attempts of one run that live at the same time, as when a machine is cut off: whatever the old ones write, and whenever, the
run goes on from, and ends with, what the attempt that the driver believes has written."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables.exhibits import EXHIBITS
from trainables.training.attempts import ATTEMPTS, attempt_folder, earlier_folders, publish, remove_attempts
from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT
from trainables.training.keeper import CheckpointKeeper
from trainables.training.protocol import StepReport
from trainables.training.request import RunRequest

STEPS = 6


@dataclass
class Session:
    """As a session of training: what a step gives is decided by its number; ``wrote`` says who was at work."""

    attempt: int
    progress: int = 0

    def step(self, again: bool) -> StepReport:
        self.progress += not again
        return StepReport(self.progress, {}, self.progress == STEPS, self.progress in (2, 5))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"progress": self.progress, "attempt": self.attempt}))

    def load(self, path: Path) -> None:
        self.progress = json.loads(path.read_text())["progress"]


@dataclass
class Attempt:
    """The process of one attempt. It is one step ahead of what the driver has heard at most, since it waits for the driver's word
    before each step."""

    home: Path
    number: int
    seconds: float
    session: Session = field(init=False)
    keeper: CheckpointKeeper = field(init=False)
    repeating: bool = field(init=False)

    def __post_init__(self) -> None:
        folders = {"folder": attempt_folder(self.home, self.number), "earlier": earlier_folders(self.home, self.number)}
        request: Any = {"run": "r", "attempt": self.number, "keep_checkpoints": "best", "checkpoint_seconds": self.seconds}
        request = RunRequest(**request, architecture="gpt", task="mqar", artifacts=self.home, **cast("Any", folders))
        self.session, self.keeper = Session(self.number), CheckpointKeeper(request)
        self.keeper.continue_session(cast("Any", self.session))
        self.repeating = self.session.progress > 0

    def step(self) -> StepReport:
        """The first one after a checkpoint repeats the step of that, and a run that is complete repeats its last."""
        report = self.session.step(again=self.repeating or self.session.progress == STEPS)
        self.repeating = False
        self.keeper.keep(cast("Any", self.session), report)
        return report


def content(path: Path) -> dict[str, int]:
    return dict(json.loads(path.read_text()))


Moves = st.lists(st.sampled_from(["step", "step", "step", "lose", "old"]), max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(Moves, st.lists(st.sampled_from([0.0, 3600.0]), min_size=31, max_size=31), st.integers(0, 10**6))
def test_whatever_old_processes_write_and_when_no_step_is_missing_and_the_last_state_is_the_believed_one_s(
    moves: list[str], seconds: list[float], pick: int
) -> None:
    """``step``: the believed attempt takes one and tells it; ``lose``: its machine is cut off; ``old``: one that was cut off ends
    the step that it was at, which it does once."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "r"
        believed, cut_off, told = Attempt(home, 1, seconds[0]), list[Attempt](), 0
        for move in moves:
            if move == "lose":
                cut_off.append(believed)
                believed = Attempt(home, believed.number + 1, seconds[believed.number])
                assert believed.session.progress <= told + 1, "an old process was at most one step ahead"
            elif move == "old" and cut_off:
                cut_off.pop(pick % len(cut_off)).step()
            elif move == "step" and told < STEPS:
                progress = believed.step().progress
                assert progress <= told + 1, "no step is missing"
                told = max(told, progress)
        while told < STEPS:
            told = max(told, believed.step().progress)
        publish(home, believed.number)
        for old in cut_off:
            old.step()
        assert content(home / LAST_CHECKPOINT)["progress"] == STEPS, "the last step, by whoever came to it"
        assert content(home / BEST_CHECKPOINT)["progress"] == 5, "the best one, in the same way"
        remove_attempts(home)
        assert not (home / ATTEMPTS).exists()


def test_the_latest_attempt_that_has_a_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    first = Attempt(tmp_path, 1, 0.0)
    for _ in range(4):
        first.step()
    assert [Attempt(tmp_path, number, 0.0).session.progress for number in (2, 3)] == [4, 4], "these two wrote nothing"
    assert Attempt(tmp_path, 4, 0.0).session.progress == 4


def test_a_checkpoint_that_an_old_process_writes_after_its_successor_s_is_not_gone_on_from(tmp_path: Path) -> None:
    old = Attempt(tmp_path, 1, 0.0)
    old.step()
    new = Attempt(tmp_path, 2, 0.0)
    for _ in range(4):
        new.step()
    old.step()
    assert content(attempt_folder(tmp_path, 1) / LAST_CHECKPOINT)["progress"] == 2, "the old one can write"
    assert Attempt(tmp_path, 3, 0.0).session.progress == 4


def test_only_the_exhibits_of_the_attempt_that_ended_are_published(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = attempt_folder(tmp_path, number) / EXHIBITS
        folder.mkdir(parents=True)
        (folder / "picture").write_text(str(number))
    publish(tmp_path, 2)
    assert (tmp_path / EXHIBITS / "picture").read_text() == "2"
    publish(tmp_path, 2)
    assert (tmp_path / EXHIBITS / "picture").read_text() == "2", "publishing again changes nothing"


@pytest.mark.parametrize("name", [LAST_CHECKPOINT, BEST_CHECKPOINT, EXHIBITS])
def test_no_link_is_published(tmp_path: Path, name: str) -> None:
    outside, home = tmp_path / "outside", tmp_path / "r"
    outside.mkdir()
    (outside / "file").write_text("a stranger's")
    attempt_folder(home, 1).mkdir(parents=True)
    (attempt_folder(home, 1) / name).symlink_to(outside if name == EXHIBITS else outside / "file")
    publish(home, 1)
    assert not (home / name).exists()
    remove_attempts(home)
    assert (outside / "file").read_text() == "a stranger's"


def test_an_old_process_that_writes_its_first_checkpoint_late_removes_nothing_that_was_published(tmp_path: Path) -> None:
    old, believed = Attempt(tmp_path, 1, 0.0), Attempt(tmp_path, 2, 0.0)
    for _ in range(STEPS):
        believed.step()
    publish(tmp_path, 2)
    old.step()
    assert content(tmp_path / LAST_CHECKPOINT) == {"progress": STEPS, "attempt": 2}


def test_a_checkpoint_that_moves_on_while_it_is_looked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old process writes its own, and removes the one before it, between two looks of its successor."""
    Attempt(tmp_path, 1, 0.0).step()
    old = Attempt(tmp_path, 2, 0.0)
    old.step()
    load, looks = Session.load, list[Path]()

    def load_late(session: Session, path: Path) -> None:
        looks.append(path)
        if len(looks) == 3:
            old.step()
        load(session, path)

    monkeypatch.setattr(Session, "load", load_late)
    assert Attempt(tmp_path, 3, 0.0).session.progress == 2
