"""The configuration of the task ``segment_lm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from trainables.configuration import Rule, hyperparameter
from trainables.language import Split
from trainables.tasks._language.configuration import MOST_FACTS, TextConfiguration


def _reads_corpus(task: Any) -> Any:
    return task.tokens == np.array(None)


@dataclass(frozen=True, kw_only=True)
class SegmentLmConfiguration(TextConfiguration):
    """Where the tokens come from (flat files of ids, or else a corpus), and the crops in which they are read.

    A validation crop has ``n_segments`` equal parts, the segments; a training crop has as many as fit.
    """

    tokens: str | None = hyperparameter(
        None,
        "a folder with train.bin and val.bin, flat little-endian token ids without a header, read instead of a corpus; "
        "null: the corpus",
        file=True,
        folder=True,
    )
    token_dtype: Literal["uint16", "uint32"] = hyperparameter("uint16", "what an id is in the files of tokens")
    train_tokens: int = hyperparameter(65536, "tokens of a corpus that training crops are cut from", minimum=1)
    val_tokens: int = hyperparameter(16384, "tokens of a corpus that validation crops are cut from", minimum=1)
    seed: int = hyperparameter(
        0, "seed of the places of crops, of the facts and questions, and of the division of a corpus", minimum=0
    )
    train_length: int = hyperparameter(512, "tokens of a training crop", minimum=1)
    val_length: int = hyperparameter(1024, "tokens of a validation crop", minimum=1)
    n_segments: int = hyperparameter(32, "equal parts of a validation crop, each with a loss of its own", minimum=1)
    train_crops: int = hyperparameter(256, "crops that an epoch trains on, at random places which stay the same", minimum=1)
    eval_crops: int = hyperparameter(32, "crops of each split that are evaluated", minimum=2)
    n_questions: int = hyperparameter(
        32, "questions after a fact that a crop begins with, asked at the end of a run; of the corpus facts alone", minimum=0
    )
    question_candidates: int = hyperparameter(4, "answers of a question, one of them right", minimum=2, maximum=16)
    target_loss: float | None = hyperparameter(None, "validation loss that counts as solved; null: none does", above=0)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            lambda task: _reads_corpus(task) | (task.corpus == "facts"),
            "tokens and corpus are two texts: leave one of them out",
        ),
        Rule(
            lambda task: ~_reads_corpus(task) | (task.corpus != "facts") | (task.train_tokens <= MOST_FACTS),
            f"the corpus facts is for tests of at most {MOST_FACTS:,} train_tokens: lower them, or name a corpus or tokens",
        ),
        Rule(
            lambda task: task.val_length % task.n_segments == 0,
            "n_segments must divide val_length, or segments would not be equal: change one of them",
        ),
        Rule(
            lambda task: (task.train_length * task.n_segments) % task.val_length == 0,
            "train_length must be a multiple of a segment, which has val_length / n_segments tokens: change train_length",
        ),
        Rule(
            lambda task: ~_reads_corpus(task) | (task.train_length <= task.train_tokens),
            "a training crop has more tokens than there are train_tokens: lower train_length or raise train_tokens",
        ),
        Rule(
            lambda task: ~_reads_corpus(task) | (task.val_length <= task.val_tokens),
            "a validation crop has more tokens than there are val_tokens: lower val_length or raise val_tokens",
        ),
    )

    @property
    def segment_tokens(self) -> int:
        return self.val_length // self.n_segments

    @property
    def asked(self) -> int:
        """Questions of a run: none where there are no facts."""
        return self.n_questions if self.tokens is None and self.corpus == "facts" else 0

    def targets(self) -> dict[Split, int]:
        """The number of targets of each split of a corpus."""
        return {"train": self.train_tokens, "fit": 0, "val": self.val_tokens, "test": 0}
