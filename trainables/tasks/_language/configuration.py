"""The configuration of the task ``language_modeling``, and what tasks over text have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.language import Split

GENERATED = ("facts", "stdlib")
"""Corpora that need no file."""

MOST_FACTS = 10_000_000
"""Tokens of facts: they are made anew whenever a search space is checked, a second a million."""

BYTES = "bytes"
"""The tokeniser that needs no file."""


class CorpusConfiguration(Protocol):
    """What decides the tokens of a corpus and its splits; the sizes of the splits are exact."""

    @property
    def corpus(self) -> str: ...
    @property
    def text_column(self) -> str: ...
    @property
    def tokenizer(self) -> str: ...
    @property
    def boundary(self) -> str | None: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def seed(self) -> int: ...

    def targets(self) -> dict[Split, int]:
        """The number of scored targets of each split; 0 for one that is not wanted."""


@dataclass(frozen=True, kw_only=True)
class TextConfiguration(Configuration):
    """A text and how it becomes tokens."""

    corpus: str = hyperparameter(
        "facts",
        "facts (made from seed), stdlib (documentation of Python's standard library), or a path: a text file, a folder of .txt "
        "files, perhaps in train, validation and test, or a dataset of `save_to_disk`",
        file=True,
        folder=True,
        names=GENERATED,
    )
    text_column: str = hyperparameter("text", "column of the texts, of a dataset of `save_to_disk`")
    tokenizer: str = hyperparameter(
        BYTES, "bytes, or the path of a tokenizer.json or of a folder that holds one", file=True, folder=True, names=(BYTES,)
    )
    boundary: str | None = hyperparameter(
        None, "token that begins each document; null: the tokenizer's own, the first of <|endoftext|>, </s>, <eos>, [SEP], <s>"
    )
    vocab_size: int = hyperparameter(257, "token ids: those of the tokenizer; of bytes 256 and the boundary", minimum=2)


@dataclass(frozen=True, kw_only=True)
class LanguageModelingConfiguration(TextConfiguration):
    """A corpus, the tokens that are taken of it for each split, and the windows T = ``input_seq_len`` in which they are read.

    The sizes of the splits are exact, so that all counts, such as the entries of a datastore, are known before there are data.
    """

    input_seq_len: int = hyperparameter(128, "tokens T of a window, what a module without memory sees", minimum=2)
    segments: int = hyperparameter(4, "consecutive windows of a training example, over which memories are carried", minimum=1)
    eval_segments: int = hyperparameter(16, "windows of a stretch of evaluation, over which memories are carried", minimum=1)
    eval_stride: int | None = hyperparameter(
        None, "step of the sliding windows of evaluation, of modules without memory; null: input_seq_len", minimum=1
    )
    train_tokens: int = hyperparameter(32768, "tokens that are trained on, and entries of a datastore", minimum=1)
    fit_tokens: int = hyperparameter(4096, "tokens of the validation text on which retrieval heads are fitted", minimum=1)
    val_tokens: int = hyperparameter(4096, "tokens of the validation text by which is chosen", minimum=1)
    test_tokens: int = hyperparameter(4096, "tokens of the test text", minimum=1)
    seed: int = hyperparameter(0, "seed of the facts, and of the division of a corpus that has no splits", minimum=0)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            lambda task: (task.corpus != "facts") | (task.train_tokens <= MOST_FACTS),
            f"the corpus facts is for tests of at most {MOST_FACTS:,} train_tokens: lower them, or name a corpus",
        ),
        Rule(
            lambda task: task.eval_stride is None or task.eval_stride <= task.input_seq_len,
            "eval_stride must be at most input_seq_len, or targets between two windows would be left out: lower eval_stride",
        ),
        Rule(
            lambda task: task.segments * task.input_seq_len <= task.train_tokens,
            "an example of training has segments * input_seq_len tokens, more than train_tokens: lower segments or input_seq_len",
        ),
        Rule(
            lambda task: task.segments * task.input_seq_len <= task.fit_tokens,
            "an example of training has segments * input_seq_len tokens, more than fit_tokens: lower segments or input_seq_len",
        ),
    )

    @property
    def example_tokens(self) -> int:
        """Tokens S of a training example."""
        return self.segments * self.input_seq_len

    @property
    def stride(self) -> int:
        """Step of the sliding windows."""
        return self.input_seq_len if self.eval_stride is None else self.eval_stride

    def targets(self) -> dict[Split, int]:
        """The number of scored targets of each split."""
        return {"train": self.train_tokens, "fit": self.fit_tokens, "val": self.val_tokens, "test": self.test_tokens}
