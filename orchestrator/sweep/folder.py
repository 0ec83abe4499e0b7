"""Where a sweep keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SweepFolder:
    """``<storage>/<sweep>/``; the storage beside it holds what sweeps share."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def space(self) -> Path:
        """The search space as run."""
        return self.path / "space.yaml"

    @property
    def record(self) -> Path:
        return self.path / "record.jsonl"

    @property
    def study_view(self) -> Path:
        """Optuna's view; may be deleted."""
        return self.path / "study.db"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def tune(self) -> Path:
        """Tune's own files, never read."""
        return self.path / "tune"

    @property
    def default_tracking_uri(self) -> str:
        return f"sqlite:///{self.path.parent.resolve() / 'mlflow.db'}"

    @property
    def artifact_location(self) -> str:
        """Where MLflow keeps artifacts when its store is the default."""
        return (self.path.parent.resolve() / "mlartifacts").as_uri()


def find_sweep(sweep: str, storage: Path) -> SweepFolder:
    """The folder that SWEEP names: a path, or a name under ``storage``.

    Raises:
        FileNotFoundError: with what is there instead.
    """
    for path in (Path(sweep), storage / sweep):
        if (path / "record.jsonl").is_file():
            return SweepFolder(path)
    known = sorted(path.parent.name for path in storage.glob("*/record.jsonl"))
    there = f"there are: {', '.join(known)}" if known else f"there are none in {storage}"
    raise FileNotFoundError(f"no sweep `{sweep}`; {there}")
