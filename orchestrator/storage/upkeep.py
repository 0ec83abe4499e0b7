"""What a sweep's storage wants of whoever conducts the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from orchestrator.storage.lease import LeaseLost
from orchestrator.storage.publication import EndedRun, publish_run, runs_with_attempts
from orchestrator.storage.uploader import Uploader
from orchestrator.storage.working_copy import fetch_exhibits, fetch_inputs
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.state import RunState
from trainables.exhibits import EXHIBITS
from trainables.prepared import MANIFEST
from trainables.storage.folder import StoredFolder
from trainables.storage.prepared_inputs import is_sent, send_prepared
from trainables.storage.run_place import TRIALS, RunPlace, SweepPlace
from trainables.training.request import Keep

PATIENCE_S = 60.0
"""How long the storage is waited for in the end."""


class Upkeep:
    """Of a sweep in a folder that all machines share: nothing."""

    place: SweepPlace | None = None

    @property
    def loss(self) -> LeaseLost | None:
        """Why nothing may be written any more."""
        return None

    def place_of(self, run: RunState) -> RunPlace | None:
        """Where the next attempt of a run keeps what must outlive its machine."""
        return None

    def fetch_inputs(self, names: Iterable[str]) -> None:
        """Brings here what was prepared before."""

    def send_inputs(self) -> None:
        """Brings what was prepared here to where every machine finds it."""

    def run_ended(self, run: RunState, keep: Keep, exhibits: Callable[[Path], None]) -> None:
        """``exhibits`` is called with their folder, from any thread, when they are here."""

    def all_ended(self, runs: Iterable[RunState], keep: Keep) -> None:
        """Waits a while until what is left of the runs is where it belongs, and their exhibits are here."""

    def send_files(self, paths: Iterable[Path]) -> None:
        """Files of the sweep's folder, or folders in it, that people read."""


class StoredUpkeep(Upkeep):
    """Of a sweep whose storage is behind a URI."""

    def __init__(
        self, place: SweepPlace, sweep: StoredFolder, folder: SweepFolder, uploader: Uploader, drivers: list[str]
    ) -> None:
        self.place = place
        self._sweep = sweep
        self._folder = folder
        self._uploader = uploader
        self._drivers = drivers
        self._sent: set[str] = set()

    @property
    def loss(self) -> LeaseLost | None:
        return self._uploader.loss

    def place_of(self, run: RunState) -> RunPlace | None:
        assert self.place is not None
        return RunPlace(self.place.storage, self.place.sweep, run.id, run.attempts, self._drivers[-1], run.progress)

    def fetch_inputs(self, names: Iterable[str]) -> None:
        """Raises StorageError where something is there and cannot be read."""
        fetch_inputs(self._sweep, self._folder, names)

    def send_inputs(self) -> None:
        """Raises StorageError where the storage cannot be written: runs on other machines would miss them."""
        for manifest in sorted(self._folder.artifacts.glob(f"*/{MANIFEST}")):
            folder = manifest.parent
            if folder.name not in self._sent and not folder.name.startswith("."):
                if not is_sent(self._sweep, folder.name):
                    send_prepared(self._sweep, folder)
                self._sent.add(folder.name)

    def run_ended(self, run: RunState, keep: Keep, exhibits: Callable[[Path], None]) -> None:
        ended = EndedRun(run.id, run.attempts, run.progress)

        def publish() -> None:
            publish_run(self._sweep, ended, keep, self._drivers)
            folder = self._folder.trials / ended.run / EXHIBITS
            for name in self._sweep.names(f"{TRIALS}/{ended.run}/{EXHIBITS}"):
                self._sweep.fetch(name, self._folder.path / name)
            if folder.is_dir():
                exhibits(folder)

        self._uploader.hurry()
        self._uploader.later(publish)

    def all_ended(self, runs: Iterable[RunState], keep: Keep) -> None:
        ended = {run.id: EndedRun(run.id, run.attempts, run.progress) for run in runs if run.outcome not in (None, "interrupted")}

        def publish() -> None:
            for run in runs_with_attempts(self._sweep):
                if run in ended:
                    publish_run(self._sweep, ended[run], keep, self._drivers)
            fetch_exhibits(self._sweep, self._folder)

        self._uploader.later(publish)
        self._uploader.settle(PATIENCE_S)

    def send_files(self, paths: Iterable[Path]) -> None:
        found = [path for path in paths if path.exists()]

        def send() -> None:
            for path in found:
                for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                    if file.is_file() and not file.is_symlink():
                        self._sweep.send(file, file.relative_to(self._folder.path).as_posix())

        self._uploader.later(send)
