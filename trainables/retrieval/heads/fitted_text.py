"""The text that retrieval heads are fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from trainables.language import TokenBatch
from trainables.tasks._language.corpus_data import CorpusData, stretches

_POSITIONS_AT_ONCE = 1024


def fit_batches(data: Path, device: torch.device) -> Iterator[TokenBatch]:
    """Every position of the split ``fit`` once, in order, from the prepared data of a task: rows of a batch each."""
    return stretches(CorpusData(data), "fit", _POSITIONS_AT_ONCE, device, batch_size=1)
