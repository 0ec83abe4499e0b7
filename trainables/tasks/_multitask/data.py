"""From the configuration to the tokens of all tasks, and to the files that hold them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from trainables.tasks._language.configuration import BYTES
from trainables.tasks._language.tokenizers import Tokenizer, tokenizer_of
from trainables.tasks._multitask.configuration import MultitaskConfiguration
from trainables.tasks._multitask.datasets import Examples
from trainables.tasks._multitask.encoding import encode_all
from trainables.tasks._multitask.local_data import local_examples
from trainables.tasks._multitask.packing import IntArray, pack, write_packed
from trainables.tasks._multitask.synthetic import SYNTHETIC, synthetic_examples
from trainables.tasks._multitask.validation import ValidationRows, write_validation

_TOKENIZER = "tokenizer.json"


def read_examples(configuration: MultitaskConfiguration) -> dict[str, Examples]:
    """The rows of each task that are trained and evaluated on.

    Raises:
        ConfigurationError: the data cannot be read or do not fit, with the name of the field, the task and the row.
    """
    limits = configuration.train_examples, configuration.val_examples
    if configuration.data == SYNTHETIC:
        read = {name: synthetic_examples(name, configuration.seed, *limits) for name in configuration.named_tasks}
    else:
        read = {name: local_examples(name, Path(configuration.data), *limits) for name in configuration.named_tasks}
    return {name: _part_of(examples, configuration) for name, examples in read.items()}


def _part_of(examples: Examples, configuration: MultitaskConfiguration) -> Examples:
    kept = examples.train[: configuration.train_rows(len(examples.train))]
    return Examples(kept, examples.validation, examples.dropped)


@dataclass(frozen=True, slots=True)
class EncodedData:
    """Everything as tokens: the stream of training and the number of the text of each token, and the rows of evaluation."""

    tokens: IntArray
    documents: IntArray
    validation: ValidationRows
    examples: dict[str, Examples]


def encoded_data(configuration: MultitaskConfiguration) -> EncodedData:
    """All data of a configuration; raises ConfigurationError as :func:`read_examples` does, and where prompts are too long."""
    tokenizer = tokenizer_of(configuration)
    examples = read_examples(configuration)
    texts, validation = encode_all(examples, tokenizer, configuration.input_seq_len, configuration.max_new_tokens)
    return EncodedData(*pack(texts, tokenizer.boundary), validation, examples)


def write_data(configuration: MultitaskConfiguration, folder: Path) -> None:
    """Writes all data, and the tokeniser's file, into ``folder``."""
    data = encoded_data(configuration)
    write_packed(folder, data.tokens, data.documents)
    rows = {
        name: {"train": len(of_task.train), "validation": len(of_task.validation), "dropped": of_task.dropped}
        for name, of_task in data.examples.items()
    }
    write_validation(folder, data.validation, {"rows": rows})
    if configuration.tokenizer != BYTES:
        path = Path(configuration.tokenizer)
        shutil.copyfile(path / _TOKENIZER if path.is_dir() else path, folder / _TOKENIZER)


@dataclass(frozen=True, slots=True)
class _OwnTokenizer:
    tokenizer: str
    boundary: str | None
    vocab_size: int


def read_tokenizer(configuration: MultitaskConfiguration, folder: Path) -> Tokenizer:
    """The tokeniser with which the data in ``folder`` were made, on a machine that has nothing but these."""
    own = BYTES if configuration.tokenizer == BYTES else str(folder / _TOKENIZER)
    return tokenizer_of(_OwnTokenizer(own, configuration.boundary, configuration.vocab_size))
