"""Forecasts of a noisy decay, with predictions as good or bad as wanted."""

from __future__ import annotations

import numpy as np

from trainables.exhibits.forecast import ForecastExhibit

NAMES = ("formaldehyde(ug/m³)", "ozone(ppb)", "price$of$it", "w", "v", "u")


def forecast(
    seed: int = 0,
    length: int = 200,
    channels: int = 1,
    codebooks: tuple[int, ...] = (),
    error: float = 30.0,
    growth: float = 0.0,
    made: int | None = None,
) -> ForecastExhibit:
    """``growth``: of the error of the multi-step prediction, which is given for the first ``made`` moments."""
    generator = np.random.default_rng(seed)
    time = np.arange(96, 96 + length) / 30
    clean = (1850 * np.exp(-time / 32))[:, None] * np.arange(1, channels + 1)
    truth = clean + generator.normal(0, 33, (length, channels))
    with np.errstate(over="ignore"):
        multi_step = clean * 0.95 * np.exp(growth * np.linspace(0, 1, length))[:, None]
    multi_step[length if made is None else made :] = np.nan
    chosen = tuple(generator.multinomial(10_000, generator.dirichlet(np.full(rows, 0.3))).astype(np.int64) for rows in codebooks)
    one_step = truth + generator.normal(0, error, truth.shape)
    return ForecastExhibit(time, truth, one_step, multi_step, "time(h)", NAMES[:channels], chosen)
