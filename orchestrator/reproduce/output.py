"""A comparison as text, and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from orchestrator.reproduce.comparison import ComparedValue, Comparison
from orchestrator.reproduce.provenance import Origin

_MOST_SHOWN = 10
NOT_RECORDED = "not recorded"


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Plain values; a relative difference that is infinite, because the value did not come, is null."""
    recorded, end = comparison.recorded, comparison.end
    return {
        "sweep": recorded.folder.name,
        "run": recorded.run,
        "architecture": recorded.architecture,
        "seed": recorded.seed,
        "same": comparison.same,
        "identical": comparison.identical,
        "tolerance": comparison.tolerance,
        "steps": comparison.reproduction.last_step,
        "recorded_steps": recorded.last_step,
        "continued_from": list(recorded.continued_from),
        "fingerprint": {"recorded": recorded.fingerprint, "now": comparison.reproduction.fingerprint},
        "provenance": {
            origin.key: {"recorded": list(origin.recorded), "now": origin.now, "same": origin.same if origin.known else None}
            for origin in comparison.origins
        },
        "outcome": {"recorded": end.recorded, "reproduced": end.reproduced, "same": end.same if end.compared else None},
        "largest": None if comparison.largest is None else _value_json(comparison.largest),
        "values": [_value_json(value) for value in comparison.values],
        "new_metrics": comparison.new_metrics,
    }


def _value_json(value: ComparedValue) -> dict[str, Any]:
    return {
        "step": value.step,
        "metric": value.metric,
        "recorded": value.recorded,
        "reproduced": value.reproduced,
        "difference": value.difference,
        "relative": value.relative if math.isfinite(value.relative) else None,
    }


def comparison_text(comparison: Comparison) -> str:
    """What a person reads: the figures, the end, the verdict last. Nothing in it can steer a terminal."""
    return "\n".join(map(printable, _lines(comparison)))


def provenance_text(origins: list[Origin]) -> str:
    """What differs from then, or that nothing does."""
    lines = [f"  {origin.key}: {_then(origin)} then, {origin.now or 'not known'} now" for origin in origins if not origin.same]
    known = ", ".join(origin.key for origin in origins if origin.same)
    return "\n".join(map(printable, [f"as then: {known or 'nothing that is recorded'}", *lines]))


def printable(text: str) -> str:
    """Without characters that could steer a terminal: a record may come from anywhere."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _then(origin: Origin) -> str:
    return ", later ".join(origin.recorded) if origin.recorded else NOT_RECORDED


def _lines(comparison: Comparison) -> Iterator[str]:
    recorded = comparison.recorded
    yield f"{recorded.run} of the sweep {recorded.folder.name}: {recorded.architecture}, seed {recorded.seed}"
    yield from _metric_lines(comparison.values)
    yield _summary(comparison)
    yield from (f"  {_value_text(value)}" for value in comparison.off[:_MOST_SHOWN])
    if len(comparison.off) > _MOST_SHOWN:
        yield f"  … and {len(comparison.off) - _MOST_SHOWN} more (all of them: --json)"
    yield from _notes(comparison)
    yield f"end: {_end(comparison)}"
    yield f"verdict: {_verdict(comparison)}"


def _metric_lines(values: list[ComparedValue]) -> Iterator[str]:
    """Each metric at its last compared step, with its largest difference at any step."""
    last = {value.metric: value for value in values}
    width = max(map(len, last), default=0)
    for metric, value in sorted(last.items()):
        most = max(other.difference or 0.0 for other in values if other.metric == metric)
        shown = f", largest difference {most:.3g}" if most else ""
        yield f"  {metric:<{width}}  step {value.step}: recorded {value.recorded!r}, reproduced {_shown(value)}{shown}"


def _summary(comparison: Comparison) -> str:
    values, largest = comparison.values, comparison.largest
    steps = len({value.step for value in values if value.step})
    what = f"{len(values)} values at {steps} steps (and those known once)"
    if not values:
        return "metrics: none to compare"
    if largest is None:
        return f"metrics: {what} are identical bit for bit"
    off = f"{len(comparison.off)} of {what} differ by more than the tolerance of {comparison.tolerance:g}"
    return f"metrics: {off}; the largest difference is {_value_text(largest)}"


def _value_text(value: ComparedValue) -> str:
    place = f"{value.metric} at step {value.step}: recorded {value.recorded!r}, reproduced {_shown(value)}"
    return place if value.difference is None else f"{place}, absolute {value.difference:.3g}, relative {value.relative:.3g}"


def _shown(value: ComparedValue) -> str:
    return "nothing" if value.reproduced is None else repr(value.reproduced)


def _notes(comparison: Comparison) -> Iterator[str]:
    if comparison.recorded.continued_from:
        steps = ", ".join(map(str, comparison.recorded.continued_from))
        yield f"note: the recorded run went on from checkpoints of step {steps}; this one ran through"
    if not comparison.same_configuration:
        then, now = comparison.recorded.fingerprint, comparison.reproduction.fingerprint
        yield f"note: the configuration's fingerprint was {then} and is {now or 'none'}: its fields have changed since"
    if not comparison.same_data:
        yield "data: they are not those of the record, so that the metrics are of another experiment"
    if comparison.new_metrics:
        yield f"note: measured now and not then: {', '.join(comparison.new_metrics)}"


def _end(comparison: Comparison) -> str:
    end = comparison.end
    if not end.compared:
        return f"{end.recorded} then, {end.reproduced} now (not compared)"
    return f"{end.recorded}, as recorded" if end.same else f"{end.recorded} then, {end.reproduced} now"


def _verdict(comparison: Comparison) -> str:
    if not comparison.same:
        return "differs"
    if not comparison.values:
        return "the same end, with no figures to compare"
    if comparison.identical:
        return "the same, bit for bit"
    return f"the same within a relative difference of {comparison.tolerance:g}"
