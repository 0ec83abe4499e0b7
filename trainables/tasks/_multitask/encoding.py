"""From the rows of all tasks to tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trainables.configuration import ConfigurationError
from trainables.tasks._language.tokenizers import Tokenizer
from trainables.tasks._multitask.datasets import DATASETS, Example, Examples
from trainables.tasks._multitask.packing import IntArray
from trainables.tasks._multitask.truncation import TooLong, fitted
from trainables.tasks._multitask.validation import Row, ValidationRows


class Encoder:
    """Prompts and labels as tokens; the tokens of a label are the same in training and evaluation."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def labels(self, name: str, cue: str) -> list[list[int]]:
        """The tokens of each label of a task as they follow ``cue``, the end of its prompts."""
        return [self._continuation(cue, label) for label in DATASETS[name].labels]

    def training_texts(self, examples: Sequence[Example], labels: Sequence[Sequence[int]]) -> list[IntArray]:
        """Prompt and label, nothing between."""
        prompts = self._tokenizer.encode([example.prompt.text for example in examples])
        both = zip(prompts, examples, strict=True)
        return [np.concatenate([prompt, labels[example.label]]).astype(np.int32) for prompt, example in both]

    def evaluated(self, name: str, examples: Sequence[Example], length: int, reserved: int) -> Iterator[Row]:
        """Prompts that with the boundary before them leave ``reserved`` of ``length`` tokens.

        Raises:
            ConfigurationError: what may not be cut of one is longer.
        """
        for number, example in enumerate(examples, 1):
            try:
                prompt = fitted(example.prompt, length - reserved - 1, self._count)
            except TooLong as error:
                told = f"{name}: the prompt of row {number} {error}, and {reserved} are for its label or what is generated"
                cure = f"raise input_seq_len to at least {error.least + 1 + reserved}, or leave {name} out of tasks"
                raise ConfigurationError([("input_seq_len", f"{told}: {cure}")]) from None
            yield Row(name, self._tokens(self._tokenizer.boundary, prompt.text), example.label)

    def _tokens(self, boundary: int, text: str) -> IntArray:
        return np.concatenate([[boundary], self._tokenizer.encode([text])[0]]).astype(np.int32)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode([text])[0])

    def _continuation(self, cue: str, label: str) -> list[int]:
        alone, both = (ids.tolist() for ids in self._tokenizer.encode([cue, cue + label]))
        if both[: len(alone)] == alone:
            return list(map(int, both[len(alone) :]))
        return list(map(int, self._tokenizer.encode([label])[0]))


def encode_all(
    examples: Mapping[str, Examples], tokenizer: Tokenizer, length: int, new_tokens: int
) -> tuple[list[IntArray], ValidationRows]:
    """The training texts of all tasks and the rows of evaluation, whose prompts are cut.

    In ``length`` tokens each leaves room for every label and for ``new_tokens`` that are generated.

    Raises:
        ConfigurationError: ``length`` is too small for the prompt of a row without its context.
    """
    encoder = Encoder(tokenizer)
    texts: list[IntArray] = []
    rows: list[Row] = []
    labels: dict[str, list[list[int]]] = {}
    for name, of_task in examples.items():
        cue = of_task.validation[0].prompt.after
        labels[name] = encoder.labels(name, cue)
        texts += encoder.training_texts(of_task.train, labels[name])
        rows += encoder.evaluated(name, of_task.validation, length, max(new_tokens, *map(len, labels[name])))
    return texts, ValidationRows(rows, labels)
