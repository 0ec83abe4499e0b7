"""What passes between a task over text and the modules that model it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from trainables.task import TokenModule

Split = Literal["train", "fit", "val", "test"]
"""The parts of a corpus: ``train``; ``fit`` and ``val``, the two parts of the validation text, of which retrieval heads are
fitted on the first and everything is chosen by the second; ``test``, which is reported."""

SPLITS: tuple[Split, ...] = ("train", "fit", "val", "test")

_LOGITS_AT_ONCE = 2**22
"""Elements of the logits held at once where no gradient is wanted."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Stretches of consecutive tokens of one split; all tensors are (B, S), on one device."""

    ids: Tensor
    """int64 tokens."""
    targets: Tensor
    """int64, the token behind each."""
    documents: Tensor
    """int64, the number of the document of each token; memories hold nothing of another document, where they can."""
    positions: Tensor
    """int64, the place of each token in the split."""
    scored: Tensor
    """bool, whether the target counts; what does not is context for what follows."""
    split: Split


@runtime_checkable
class LanguageModule(Protocol):
    """A module whose probabilities are not the softmax of its output head over its hidden states."""

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S) log-probabilities (nats) of the targets, each from the tokens up to its own position."""


@runtime_checkable
class OwnLoss(Protocol):
    """A module that is trained on something else than the mean of the targets' log-probabilities."""

    def training_loss(self, batch: TokenBatch) -> Tensor:
        """A scalar."""


@runtime_checkable
class BasedModule(Protocol):
    """A module around another model, its base, to which it is compared."""

    def base_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """As :meth:`LanguageModule.target_log_probabilities`, of the base alone."""


@runtime_checkable
class StoringModule(Protocol):
    """A module that looks through text before it is evaluated."""

    def before_evaluation(self, data: CorpusReader) -> None:
        """Called in evaluation mode without gradients before each evaluation."""


MemoryControl = Literal["cleared", "exchanged"]
"""What may stand in the place of a memory, to see what it is worth: ``cleared``: what it is before anything was read;
``exchanged``: what the same module remembers of another sequence of the batch."""


@runtime_checkable
class RememberingModule(Protocol):
    """A pretrained module that reads in windows, with a memory of what lies before them."""

    def controlled_target_log_probabilities(self, batch: TokenBatch, control: MemoryControl) -> Tensor:
        """As :meth:`LanguageModule.target_log_probabilities`, with ``control`` in the place of the memory at every reading.

        Where memories are exchanged row b reads that of row b + 1, the last that of the first; a batch of one row is refused.
        """

    def full_attention_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """As :meth:`LanguageModule.target_log_probabilities`, of the same weights with plain attention over all that lies
        before."""


@runtime_checkable
class ChunkedModule(Protocol):
    """A module that reads a long sequence in pieces and holds no more than a piece and its memory."""

    def chunks(self, ids: Tensor) -> Iterator[Tensor]:
        """Of tokens (B, T) int64 the normalised final states (B, n, D) of one piece after another, in order, T in all."""


class CorpusReader(Protocol):
    """The text of a task, as what a module may look through."""

    def evaluation_batches(self, split: Split, batch_size: int, *, windows: bool) -> Iterator[TokenBatch]: ...


def target_log_probabilities(module: nn.Module, batch: TokenBatch) -> Tensor:
    """(B, S) log-probabilities (nats) of the targets of a batch, by the module's own way or by its output head."""
    if isinstance(module, LanguageModule):
        return module.target_log_probabilities(batch)
    tokens = cast(TokenModule, module)
    return head_log_probabilities(tokens, tokens.hidden_states(batch.ids), batch.targets)


def head_log_probabilities(module: TokenModule, states: Tensor, targets: Tensor) -> Tensor:
    """(…) log-probabilities of ``targets`` (…) under the softmax of the output head over ``states`` (…, D).

    Without gradients in pieces, so that an evaluation holds no more logits than a training step.
    """
    if torch.is_grad_enabled():
        return _log_probabilities(module, states, targets)
    flat_states, flat_targets = states.flatten(0, -2), targets.flatten()
    vocabulary = module.output_head(flat_states[:1]).shape[-1]
    rows = max(1, _LOGITS_AT_ONCE // vocabulary)
    parts = zip(torch.split(flat_states, rows), torch.split(flat_targets, rows), strict=True)
    return torch.cat([_log_probabilities(module, *part) for part in parts]).view(targets.shape)


def _log_probabilities(module: TokenModule, states: Tensor, targets: Tensor) -> Tensor:
    logits = module.output_head(states).float()
    chosen = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return chosen - logits.logsumexp(-1)
