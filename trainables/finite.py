"""Only finite numbers are kept: the record is JSON, which has no NaN and no infinity, and trackers refuse them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """``metrics`` without those that are NaN or infinite."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
