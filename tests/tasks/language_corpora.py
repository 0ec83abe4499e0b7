"""Prepared corpora for the tests of the task ``language_modeling``."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from trainables.language import SPLITS
from trainables.tasks._language.configuration import LanguageModelingConfiguration
from trainables.tasks._language.corpus_data import CorpusData, write_split
from trainables.tasks.language_modeling import LanguageModelingTask

CPU = torch.device("cpu")
SMALL = {
    "input_seq_len": 16,
    "segments": 2,
    "eval_segments": 3,
    "train_tokens": 1000,
    "fit_tokens": 100,
    "val_tokens": 120,
    "test_tokens": 90,
}


def configured(**values: object) -> LanguageModelingConfiguration:
    return LanguageModelingConfiguration.from_values({**SMALL, **values})


def prepared(folder: Path, **values: object) -> LanguageModelingTask:
    configuration = configured(**values)
    LanguageModelingTask.prepare(configuration, folder)
    return LanguageModelingTask(configuration, folder, CPU)


def counted_data(folder: Path, **counts: int) -> CorpusData:
    """Splits whose token p is p, with a new document every seven tokens."""
    for split in SPLITS:
        tokens = np.arange(counts.get(split, 5) + 1, dtype=np.int32)
        write_split(folder, split, tokens, tokens // 7)
    (folder / "meta.json").write_text("{}")
    return CorpusData(folder)


def token_task(**values: int) -> SimpleNamespace:
    return SimpleNamespace(**{"vocab_size": 257, "input_seq_len": 16, **values})


def text_of(task: LanguageModelingTask, split: str) -> list[bytes]:
    """The documents of a split of bytes."""
    tokens = task.data.tokens[split]
    parts = np.split(tokens, np.flatnonzero(tokens == 256))[1:]
    return [bytes(part[1:].astype(np.uint8)) for part in parts]
