"""Small settings, tokenisers and modules for the tests of the task ``multitask_classification``."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.tasks._multitask.configuration import MultitaskConfiguration
from trainables.tasks.multitask_classification import MultitaskClassificationTask

CPU = torch.device("cpu")
SMALL = {"input_seq_len": 180, "train_examples": 12, "val_examples": 5, "max_new_tokens": 6}


def configured(**values: object) -> MultitaskConfiguration:
    return MultitaskConfiguration.from_values({**SMALL, **values})


def prepared(folder: Path, **values: object) -> MultitaskClassificationTask:
    configuration = configured(**values)
    MultitaskClassificationTask.prepare(configuration, folder)
    return MultitaskClassificationTask(configuration, folder, CPU)


def save_tokenizer(folder: Path, texts: Sequence[str], vocab_size: int = 300) -> Path:
    """``folder/tokenizer.json``: a byte-level BPE with exactly ``vocab_size`` tokens where the texts give so many pairs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


class Reader(nn.Module):
    """A small causal module over tokens with random weights: each state is a sum over the tokens so far, in their order."""

    def __init__(self, vocab_size: int = 257, seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.table = torch.randn(vocab_size, 8, generator=draw)
        self.head = torch.randn(8, vocab_size, generator=draw)

    def hidden_states(self, ids: Tensor) -> Tensor:
        steps = torch.arange(1, ids.shape[1] + 1).unsqueeze(1)
        return torch.cumsum(self.table[ids] * torch.cos(steps / 3), 1)

    def output_head(self, states: Tensor) -> Tensor:
        return states @ self.head


class Oracle(nn.Module):
    """Knows texts: behind what one of them begins with, its next token is all but sure."""

    def __init__(self, texts: Sequence[Sequence[int]], vocab_size: int = 257) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.following = {tuple(text[:place]): text[place] for text in texts for place in range(1, len(text))}

    def hidden_states(self, ids: Tensor) -> Tensor:
        rows = [[self.following.get(tuple(row[: place + 1]), 0) for place in range(len(row))] for row in ids.tolist()]
        return 20.0 * nn.functional.one_hot(torch.tensor(rows), self.vocab_size)

    def output_head(self, states: Tensor) -> Tensor:
        return states
