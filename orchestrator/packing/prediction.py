"""What a run is expected to take of its GPU: predicted without one, corrected by what other runs took."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.packing.correction import Line, Pair, fit_line
from orchestrator.packing.margin import margin_of
from orchestrator.packing.measurement import TOLD, Measurement
from trainables.memory.context import UNMEASURED_MIB
from trainables.prediction import PredictedPeak, predict_peak
from trainables.training.request import ResolvedRun, RunRequest

FACTOR_DEVIATION = {"traced": 0.15, "arithmetic": 0.5}
"""How far a prediction may well be off, as a share, by how it was made."""
WINDOW = 32
"""Runs of one architecture on one task, the latest, from which is learnt: enough for a line and a margin, and few enough to be
predicted again when a sweep is resumed."""

Group = tuple[str, str, str]
"""Architecture, task, and how it was predicted."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """In MiB, CUDA context included."""

    mib: float
    margin: float
    """Share to be added, so that few runs need more."""

    @property
    def with_margin_mib(self) -> float:
        return self.mib * (1 + self.margin)


@dataclass(slots=True)
class _Known:
    """One run that was predicted, and what it told."""

    group: Group
    predicted_mib: float
    told: dict[str, float] = field(default_factory=dict)
    needed_mib: float | None = None
    measured: Measurement | None = None

    def taken_mib(self, context_mib: float) -> float | None:
        """What it took, or needed; None where neither is known."""
        if self.needed_mib is not None or self.measured is None:
            return self.needed_mib
        outside = self.measured.outside_mib
        return self.measured.reserved_mib + (context_mib if outside is None else outside)


@dataclass(frozen=True, slots=True)
class _Fit:
    """What follows from all measurements."""

    prior: Line
    over_all: dict[str, Line]
    """By how runs were predicted."""
    lines: dict[Group, Line]
    pairs: dict[Group, list[Pair]]

    def line(self, group: Group) -> Line:
        return self.lines.get(group) or self.over_all.get(group[2]) or self.prior


class Prediction:
    """Learns from runs: from those of the same architecture and task first, else from all.

    What it expects is a function of the latest metrics of each run, whatever the order in which they came: a sweep that is
    resumed reads them from its record and goes on with the same expectations. Of an architecture on a task the :data:`WINDOW`
    runs count that were asked about last.

    Args:
        data_of: the folder of a run's prepared data, or None.
        predict: the expected peaks of PyTorch's allocator; it remembers what it was asked.
    """

    def __init__(
        self,
        data_of: Callable[[RunRequest], Path | None],
        predict: Callable[[ResolvedRun, Path | None], PredictedPeak] = predict_peak,
    ) -> None:
        self._data_of = data_of
        self._predict = predict
        self._known: dict[str, _Known] = {}
        self._fit: _Fit | None = None

    def knows(self, request: RunRequest) -> bool:
        """Whether the run was predicted before, so that the next word on it takes no time."""
        return request.run in self._known

    def look_ahead(self, request: RunRequest) -> None:
        """Predicts a run that will be asked about; may be called from another thread, and changes nothing here."""
        with contextlib.suppress(Exception):  # as in `_of`
            self._predict(request.resolved(), self._data_of(request))

    def expect(self, request: RunRequest) -> Expectation | None:
        """None where nothing can be said of it, such as of a configuration that does not fit: its worker will tell why."""
        known = self._of(request)
        return None if known is None else self._expectation(known.group, known.predicted_mib)

    def expect_resolved(self, resolved: ResolvedRun, data: Path | None) -> Expectation:
        """Of a configuration without a request, for plans; ``data``: the folder of its prepared data, None without one."""
        peak = self._predict(resolved, data)
        return self._expectation((resolved.architecture.name, resolved.task_type.name, peak.how), peak.reserved_mib)

    def learn(self, request: RunRequest, metrics: Mapping[str, float]) -> None:
        """What a run measured, so far or at its end. What an earlier attempt of it needed counts no more."""
        told = {name: metrics[name] for name in TOLD if name in metrics}
        known = self._of(request) if told else None
        if known is None:
            return
        known.told.update(told)
        measured = Measurement.of(known.told)
        if measured is not None and (measured != known.measured or known.needed_mib is not None):
            known.measured, known.needed_mib, self._fit = measured, None, None

    def note_need(self, request: RunRequest, needed_mib: float) -> None:
        """A run ran out of memory, and would have needed so much, CUDA context included."""
        known = self._of(request)
        if known is not None and known.needed_mib != needed_mib:
            known.needed_mib, self._fit = needed_mib, None

    def _of(self, request: RunRequest) -> _Known | None:
        if request.run not in self._known:
            try:
                peak = self._predict(request.resolved(), self._data_of(request))
            except Exception:  # whatever is wrong with it is found by its worker too, which can say so
                return None
            self._known[request.run] = _Known((request.architecture, request.task, peak.how), peak.reserved_mib)
        return self._known[request.run]

    def _expectation(self, group: Group, predicted_mib: float) -> Expectation:
        if self._fit is None:
            self._fit = self._fitted()
        fit = self._fit
        of_its_kind = [(fit.lines[other], pairs) for other, pairs in fit.pairs.items() if other[2] == group[2]]
        expected = fit.line(group).at(predicted_mib)
        return Expectation(expected, margin_of(expected, group[2], (fit.line(group), fit.pairs.get(group, [])), of_its_kind))

    def _fitted(self) -> _Fit:
        latest = list(self._latest())
        outside = [one.measured.outside_mib for one in latest if one.measured and one.measured.outside_mib is not None]
        prior = Line(statistics.median(outside) if outside else UNMEASURED_MIB, 1.0)
        pairs: dict[Group, list[Pair]] = {}
        for one in latest:
            taken = one.taken_mib(prior.constant_mib)
            if taken is not None:
                pairs.setdefault(one.group, []).append((one.predicted_mib, taken))
        over_all = {
            how: fit_line(_all_predicted(how, pairs), prior, FACTOR_DEVIATION[how]) for how in {group[2] for group in pairs}
        }
        lines = {group: fit_line(own, over_all[group[2]], FACTOR_DEVIATION[group[2]]) for group, own in pairs.items()}
        return _Fit(prior, over_all, lines, pairs)

    def _latest(self) -> Iterator[_Known]:
        """The last runs of each architecture and task that have told something, the latest first."""
        counted: dict[tuple[str, str], int] = {}
        for known in reversed(self._known.values()):
            pair = known.group[:2]
            if (known.measured or known.needed_mib is not None) and counted.get(pair, 0) < WINDOW:
                counted[pair] = counted.get(pair, 0) + 1
                yield known


def _all_predicted(how: str, pairs: Mapping[Group, list[Pair]]) -> list[Pair]:
    return [pair for group, found in pairs.items() if group[2] == how for pair in found]
