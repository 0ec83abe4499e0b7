"""Where a run keeps in a storage what must outlive the machine that it runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trainables.storage.cache import cache_folder
from trainables.storage.folder import StoredFolder, open_folder
from trainables.storage.location import parse_location
from trainables.training.attempts import ATTEMPTS

TRIALS = "trials"
ARTIFACTS = "artifacts"


@dataclass(frozen=True)
class SweepPlace:
    """A sweep in a storage, as plain values that any machine can open."""

    storage: str
    """URI of the storage; it names no secret."""
    sweep: str

    @property
    def here(self) -> Path:
        """This machine's working copy of the sweep."""
        return cache_folder(parse_location(self.storage)) / self.sweep

    def open(self) -> StoredFolder:
        return open_folder(parse_location(self.storage).child(self.sweep))

    def unnamed(self, text: str) -> str:
        """A text for the record and the tracker, where the address of the storage has no place."""
        return text.replace(str(parse_location(self.storage)), "STORAGE")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class RunPlace(SweepPlace):
    """One attempt of a run."""

    run: str
    attempt: int
    driver: str
    """Who handed it out. Two drivers may count the same attempt, where one has lost the sweep and does not know it yet."""
    recorded: int = 0
    """The last step that the record knows. A checkpoint more than one step ahead would leave a gap in the record."""

    @property
    def attempts(self) -> str:
        """The folder of all attempts of the run, in the sweep's."""
        return f"{TRIALS}/{self.run}/{ATTEMPTS}"

    @property
    def folder(self) -> str:
        """The folder of this attempt, in the sweep's."""
        return f"{self.attempts}/{self.attempt}.{self.driver}"
