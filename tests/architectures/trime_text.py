"""Small ``trime`` modules and text for them, and their formula by hand."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from trainables.language import Split, TokenBatch
from trainables.registry import architectures

TRIME = architectures()["trime"]
VOCABULARY, WINDOW, ENTRIES = 11, 6, 30
SMALL = {"dim": 8, "n_layers": 2, "n_heads": 1, "dk": 8, "dv": 8, "init_std": 0.5, "n_neighbors": 5}
FIELDS = ("ids", "targets", "documents", "positions", "scored")
VARIANTS = ["local", "long", "ext"]


def task(**values: Any) -> SimpleNamespace:
    fields = {"vocab_size": VOCABULARY, "input_seq_len": WINDOW, "train_tokens": ENTRIES, "segments": 3}
    return SimpleNamespace(**{**fields, **values})


def build(variant: str = "long", seed: int = 0, **values: Any) -> Any:
    torch.manual_seed(seed)
    model = TRIME.configuration.from_values({**SMALL, "variant": variant, "warm_up": 0.0, **values})
    return TRIME.build(model, task()).double().eval()


def text(
    rows: int = 2, length: int = 3 * WINDOW, documents: Tensor | None = None, seed: int = 2, split: Split = "val"
) -> TokenBatch:
    """Random text without documents' ends, all scored."""
    tokens = torch.randint(VOCABULARY, (rows, length + 1), generator=torch.Generator().manual_seed(seed))
    one = torch.zeros(rows, length, dtype=torch.long)
    return TokenBatch(
        ids=tokens[:, :-1].contiguous(),
        targets=tokens[:, 1:].contiguous(),
        documents=one if documents is None else documents,
        positions=torch.arange(rows * length).view(rows, length),
        scored=torch.ones(rows, length, dtype=torch.bool),
        split=split,
    )


class Reader:
    """The training text of a task: as many windows as the module's datastore has room for."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self.text = text(1, entries, seed=1, split="train")

    def evaluation_batches(self, split: str, batch_size: int, *, windows: bool) -> list[TokenBatch]:
        assert split == "train" and windows
        parts = {name: getattr(self.text, name).view(-1, WINDOW) for name in FIELDS}
        cut = {name: torch.split(values, batch_size) for name, values in parts.items()}
        return [TokenBatch(**dict(zip(cut, rows, strict=True)), split="train") for rows in zip(*cut.values(), strict=True)]


def ready(variant: str, **values: Any) -> Any:
    """A module that may be evaluated."""
    module = build(variant, **values)
    with torch.no_grad():
        module.before_evaluation(Reader())
    return module


def encoded(module: nn.Module, windows: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and what enters the last feed-forward layer, by a second way: block after block."""
    x = module.embedding(windows)
    for block in module.blocks[:-1]:
        x = block(x)
    x = module.blocks[-1].att(x)
    return module.output_head(module.final_norm(module.blocks[-1].ffn(x))), module.blocks[-1].ffn.norm(x)


def by_hand(
    module: Any, batch: TokenBatch, memory: dict[int, list[int]], temperature: float = 1.0, keys: Tensor | None = None
) -> Tensor:
    """Log-probabilities (B * S,) of the targets, position after position, entry after entry of ``memory[position]``."""
    logits, own_keys = (part.flatten(0, 1) for part in encoded(module, batch.ids.reshape(-1, WINDOW)))
    keys = own_keys if keys is None else keys
    targets, found = batch.targets.flatten(), []
    for position, target in enumerate(targets.tolist()):
        every = [logit.exp() for logit in logits[position]]
        right = [every[target]]
        for entry in memory[position]:
            value = torch.exp(own_keys[position] @ keys[entry] / math.sqrt(own_keys.shape[-1]) / temperature)
            every.append(value)
            right += [value] if targets[entry] == target else []
        found.append(torch.log(sum(right) / sum(every)))
    return torch.stack(found)


def before(batch: TokenBatch, span: int, reach: int = 10**6) -> dict[int, list[int]]:
    """Of each flat position the earlier ones of its document in its stretch of ``span`` tokens, at most ``reach`` back."""
    documents = batch.documents.flatten()
    return {
        position: [
            entry
            for entry in range(position // span * span, position)
            if documents[entry] == documents[position] and position - entry <= reach
        ]
        for position in range(batch.ids.numel())
    }
