"""Compares a run with its record: provenance, every deterministic metric at every step, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.reproduce.provenance import Origin, compare_provenance, default_tolerance
from orchestrator.reproduce.recorded import RecordedRun
from orchestrator.reproduce.rerun import Reproduction

_CLOCKS_AND_PEAKS = ("time/", "throughput/", "memory/", "vram/")
_BY_ARITHMETIC = ("memory/weights_mib", "memory/estimated_mib")


def is_deterministic(metric: str) -> bool:
    """Whether the seed decides it: no time, no speed, no measured memory."""
    return metric in _BY_ARITHMETIC or not metric.startswith(_CLOCKS_AND_PEAKS)


@dataclass(frozen=True)
class ComparedValue:
    """One metric at one step; ``reproduced`` is None where it did not come."""

    step: int
    metric: str
    recorded: float
    reproduced: float | None

    @property
    def difference(self) -> float | None:
        """Absolute."""
        return None if self.reproduced is None else abs(self.reproduced - self.recorded)

    @property
    def relative(self) -> float:
        """The difference by the larger of both magnitudes; infinite where the value did not come."""
        if self.reproduced is None:
            return float("inf")
        if self.reproduced == self.recorded:
            return 0.0
        return abs(self.reproduced - self.recorded) / max(abs(self.reproduced), abs(self.recorded))


@dataclass(frozen=True)
class ComparedEnd:
    """How it ended, then and now, as a person reads it. ``compared`` is False where the end was not the run's own."""

    recorded: str
    reproduced: str
    compared: bool
    same: bool


@dataclass(frozen=True)
class Comparison:
    """The verdict and what it rests on."""

    recorded: RecordedRun
    reproduction: Reproduction
    origins: list[Origin]
    values: list[ComparedValue]
    end: ComparedEnd
    tolerance: float
    """Relative."""

    @property
    def off(self) -> list[ComparedValue]:
        """The values that differ by more than the tolerance, or did not come, in the order of steps."""
        return [value for value in self.values if value.reproduced is None or value.relative > self.tolerance]

    @property
    def largest(self) -> ComparedValue | None:
        """Where the largest relative difference is; None where there is none at all."""
        largest = max(self.values, key=lambda value: value.relative, default=None)
        return largest if largest is not None and largest.relative > 0 else None

    @property
    def same_data(self) -> bool:
        """Whether the data are those of the record, as far as it tells."""
        return all(origin.same or not origin.known for origin in self.origins if origin.key == "data")

    @property
    def same_configuration(self) -> bool:
        return self.recorded.fingerprint == self.reproduction.fingerprint

    @property
    def new_metrics(self) -> list[str]:
        """Measured now, never then: a newer version measures more."""
        then = {metric for metrics in self.recorded.steps.values() for metric in metrics}
        now = {metric for metrics in self.reproduction.steps.values() for metric in metrics}
        return sorted(filter(is_deterministic, now - then))

    @property
    def identical(self) -> bool:
        """The same, and every figure bit for bit."""
        return self.same and bool(self.values) and self.largest is None

    @property
    def same(self) -> bool:
        return not self.off and self.same_data and (self.end.same or not self.end.compared)


def compare(recorded: RecordedRun, reproduction: Reproduction, tolerance: float | None = None) -> Comparison:
    """Compares up to the step that was reproduced; ``tolerance`` None chooses by :func:`default_tolerance`."""
    origins = compare_provenance(recorded, reproduction.provenance)
    return Comparison(
        recorded=recorded,
        reproduction=reproduction,
        origins=origins,
        values=list(_values(recorded.steps, reproduction)),
        end=_compare_ends(recorded, reproduction),
        tolerance=default_tolerance(origins) if tolerance is None else tolerance,
    )


def _values(steps: Mapping[int, Mapping[str, float]], reproduction: Reproduction) -> Iterator[ComparedValue]:
    for step in sorted(steps):
        if reproduction.cut_short and step > reproduction.last_step:
            return
        again = reproduction.steps.get(step, {})
        for metric in sorted(filter(is_deterministic, steps[step])):
            yield ComparedValue(step, metric, steps[step][metric], again.get(metric))


def _compare_ends(recorded: RecordedRun, reproduction: Reproduction) -> ComparedEnd:
    """Of an exception its type and message count too; running out of memory is told in words that vary."""
    compared = recorded.ended_itself and not (reproduction.cut_short and reproduction.outcome is None)
    same = (recorded.outcome, recorded.last_step) == (reproduction.outcome, reproduction.last_step)
    if recorded.outcome == "failed":
        same = same and _words(recorded.error) == _words(reproduction.error)
    then = _told(recorded.outcome or "in flight", recorded.last_step, recorded.error)
    now = _told(reproduction.outcome or "still going on", reproduction.last_step, reproduction.error)
    return ComparedEnd(then, now, compared, same)


def _words(error: Mapping[str, str] | None) -> str:
    return "" if error is None else f"{error['type']}: {error['message']}"


def _told(outcome: str, step: int, error: Mapping[str, str] | None) -> str:
    return f"{outcome} at step {step}" + (f" ({_words(error)})" if error else "")
