"""The configuration of the task ``multitask_classification``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.tasks._language.configuration import BYTES
from trainables.tasks._multitask.datasets import DATASETS
from trainables.tasks._multitask.synthetic import SYNTHETIC

_NAMES = ", ".join(DATASETS)
_ALL = 0.99
"""From this fraction on all rows are taken, as in the published code."""


@dataclass(frozen=True, kw_only=True)
class MultitaskConfiguration(Configuration):
    """Which tasks, where their rows come from, and the tokens T = ``input_seq_len`` of a training example."""

    tasks: list[str] = hyperparameter(list(DATASETS), f"tasks that are learned together, of {_NAMES}")
    data: str = hyperparameter(
        SYNTHETIC,
        "synthetic (six made tasks, from seed), or a folder with a folder for each task: a dataset of `save_to_disk`, or "
        "train.jsonl and validation.jsonl (or .csv) with the columns of the public dataset",
        file=True,
        folder=True,
        names=(SYNTHETIC,),
    )
    tokenizer: str = hyperparameter(
        BYTES, "bytes, or the path of a tokenizer.json or of a folder that holds one", file=True, folder=True, names=(BYTES,)
    )
    boundary: str | None = hyperparameter(
        None, "token between two texts; null: the tokenizer's own, the first of <|endoftext|>, </s>, <eos>, [SEP], <s>"
    )
    vocab_size: int = hyperparameter(257, "token ids: those of the tokenizer; of bytes 256 and the boundary", minimum=2)
    input_seq_len: int = hyperparameter(
        512, "tokens T of a packed training example, and of the longest prompt of evaluation with its label", minimum=2
    )
    train_examples: int = hyperparameter(5000, "rows of each task to train on, the first ones of its file", minimum=1)
    val_examples: int = hyperparameter(1000, "rows of each task to evaluate on, the first ones of its file", minimum=1)
    train_fraction: float = hyperparameter(
        0.99, f"part of these training rows that is taken, the first ones; from {_ALL} on all", above=0, maximum=1
    )
    max_new_tokens: int = hyperparameter(20, "tokens that are generated as an answer, at most", minimum=1)
    target_acc_rank: float | None = hyperparameter(None, "val/acc_rank that counts as solved", above=0, maximum=1)
    seed: int = hyperparameter(0, "seed of the made tasks", minimum=0)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(lambda task: len(task.tasks) > 0, f"tasks is empty: name at least one of {_NAMES}"),
        Rule(lambda task: set(task.tasks) <= set(DATASETS), f"tasks has an unknown name: take {_NAMES}"),
        Rule(lambda task: len(set(task.tasks)) == len(task.tasks), "tasks names one twice: name each once"),
    )

    @property
    def named_tasks(self) -> list[str]:
        """In one order, whatever the order in which they are written."""
        return [name for name in DATASETS if name in self.tasks]

    def train_rows(self, available: int) -> int:
        """How many of ``available`` rows of a task are trained on."""
        capped = min(available, self.train_examples)
        return capped if self.train_fraction >= _ALL else max(1, int(self.train_fraction * capped))
