"""Predictions of a module along a stretch of a series: one step ahead, and step after step on its own predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from trainables.task import CodebookModule, SeriesModule


def predict(module: nn.Module, windows: Tensor) -> Tensor:
    """(B, T, C) windows to (B, P, C) predictions.

    Raises:
        ValueError: the module returns another shape, which would be broadcast into a wrong error.
    """
    predictions = cast(SeriesModule, module)(windows)
    examples, time_steps, channels = windows.shape
    fits = predictions.dim() == 3 and predictions.shape[0] == examples and predictions.shape[2] == channels
    if not (fits and 1 <= predictions.shape[1] <= time_steps):
        found, wanted = list(predictions.shape), f"[{examples}, 1 to {time_steps}, {channels}]"
        raise ValueError(f"{type(module).__name__} returned predictions of shape {found}; a series module returns {wanted}")
    return predictions


def one_step(module: nn.Module, stretch: Tensor, time_steps: int, batch_size: int) -> Tensor:
    """(N, C) for an (n, C) stretch, N = n - T: for each value but the first T, the prediction from the true T before it."""
    return torch.cat([predict(module, windows)[:, -1] for windows in true_windows(stretch, time_steps, batch_size)])


def multi_step(module: nn.Module, stretch: Tensor, time_steps: int, horizon: int) -> Tensor:
    """(min(N, horizon), C): starts from the first T values; each prediction becomes an input of the next one."""
    steps = min(len(stretch) - time_steps, horizon)
    known = torch.cat((stretch[:time_steps], stretch.new_empty(steps, stretch.shape[1])))
    for step in range(steps):
        window = known[step : step + time_steps].unsqueeze(0)
        known[time_steps + step] = predict(module, window)[0, -1]
    return known[time_steps:]


@dataclass(frozen=True, slots=True)
class CodebookUse:
    """``selections``: of each codebook (V,) int64, how often each of its rows weighed most."""

    selections: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        return sum(len(counts) for counts in self.selections)

    @property
    def usage(self) -> float:
        """The share of the rows of all codebooks that were chosen at least once."""
        return sum(int((counts > 0).sum()) for counts in self.selections) / self.rows


def codebook_use(module: nn.Module, stretch: Tensor, time_steps: int, batch_size: int) -> CodebookUse | None:
    """Over all positions of all windows of an (n, C) stretch; None for a module without codebooks."""
    if not isinstance(module, CodebookModule) or not module.codebook_sizes:
        return None
    counts = [torch.zeros(size, dtype=torch.int64, device=stretch.device) for size in module.codebook_sizes]
    for windows in true_windows(stretch, time_steps, batch_size):
        for counted, codes in zip(counts, module.chosen_codes(windows), strict=True):
            counted += torch.bincount(codes.flatten(), minlength=len(counted))
    return CodebookUse(tuple(counted.cpu() for counted in counts))


def true_windows(stretch: Tensor, time_steps: int, batch_size: int) -> Iterator[Tensor]:
    """(B, T, C) windows of an (n, C) stretch that have a next value, in the order of time."""
    for windows in torch.split(stretch[:-1].unfold(0, time_steps, 1), batch_size):
        yield windows.mT.contiguous()
