"""Prepared crops and modules with known figures for the tests of the task ``segment_lm``."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.language import MemoryControl, TokenBatch
from trainables.tasks._segments.configuration import SegmentLmConfiguration
from trainables.tasks.segment_lm import SegmentLmTask

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "train_tokens": 1500,
    "val_tokens": 900,
    "train_length": 24,
    "val_length": 48,
    "n_segments": 6,
    "train_crops": 10,
    "eval_crops": 7,
    "n_questions": 0,
}
ASKING = {**SMALL, "val_length": 480, "n_segments": 20, "n_questions": 12}


def configured(**values: Any) -> SegmentLmConfiguration:
    return SegmentLmConfiguration.from_values({**SMALL, **values})


def prepared(folder: Path, **values: Any) -> SegmentLmTask:
    configuration = configured(**values)
    folder.mkdir(exist_ok=True)
    SegmentLmTask.prepare(configuration, folder)
    return SegmentLmTask(configuration, folder, CPU)


def nats(positions: Any) -> Any:
    """What :class:`Written` makes of a position of a split."""
    return (positions * 7 % 13 + 1) / 4


class Written(nn.Module):
    """Log-probabilities that follow from a target's position alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rows_seen: list[int] = []

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        self.rows_seen.append(len(batch.ids))
        return -nats(batch.positions)


class Remembering(Written):
    """Without its memory twice as bad, with another row's three times as bad as that row, with full attention half as bad."""

    def controlled_target_log_probabilities(self, batch: TokenBatch, control: MemoryControl) -> Tensor:
        if control == "cleared":
            return -2 * nats(batch.positions)
        assert len(batch.ids) > 1
        return -3 * nats(batch.positions.roll(-1, 0))

    def full_attention_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        return -nats(batch.positions) / 2


class Copying(nn.Module):
    """Expects what followed the longest earlier text that is like the end of what it reads, at most ``window`` tokens of it."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        likely = torch.full(batch.ids.shape, -5.0)
        for row, place in batch.scored.nonzero().tolist():
            read = batch.ids[row, max(0, place + 1 - self.window) : place + 1]
            if _expected(read.numpy()) == batch.targets[row, place]:
                likely[row, place] = -0.1
        return likely


class CopyingFromMemory(Copying):
    """Reads everything; with its memory cleared the last 60 tokens."""

    def __init__(self) -> None:
        super().__init__(10_000)

    def controlled_target_log_probabilities(self, batch: TokenBatch, control: MemoryControl) -> Tensor:
        return Copying(60).target_log_probabilities(batch)

    def full_attention_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        return self.target_log_probabilities(batch)


def _expected(read: np.ndarray) -> int | None:
    """The token behind the earlier occurrence of the longest possible end; ids as UTF-32, so that bytes can be searched."""
    text, expected = "".join(map(chr, read.tolist())), None
    for size in range(1, len(text)):
        found = text.rfind(text[-size:], 0, len(text) - 1)
        if found < 0:
            break
        expected = ord(text[found + size])
    return expected


def write_ids(folder: Path, dtype: str = "<u2", **ids: Any) -> Path:
    """``train.bin`` and ``val.bin`` as arrays of ids; 3,000 and 1,000 that count to 250 unless they are given."""
    folder.mkdir(exist_ok=True)
    for split, count in (("train", 3000), ("val", 1000)):
        np.asarray(ids.get(split, np.arange(count) % 251)).astype(dtype).tofile(folder / f"{split}.bin")
    return folder


def without_speed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("throughput/")}
