"""The work whose memory is measured: a forward pass, one with a cache, or a step of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from trainables.footprint.request import Mode
from trainables.language import ChunkedModule, OwnLoss, TokenBatch, target_log_probabilities
from trainables.task import TokenModule

_LEARNING_RATE = 1e-4

Work = Callable[[], Any]
"""Does it once; what it returns is alive until it was measured."""


@runtime_checkable
class CachingModule(Protocol):
    """A module that can continue a sequence from a cache of keys and values."""

    def logits_and_cache(self, ids: Tensor) -> tuple[Tensor, Any]:
        """Of tokens (B, T) int64 the logits (B, T, V) and the cache with which token T + 1 would be read."""


def work_of(mode: Mode, module: nn.Module, ids: Tensor, beat: Callable[[], None]) -> Work:
    """What ``mode`` does with ``module`` on the tokens ``ids`` (B, T) int64.

    A module that reads in pieces is read as a stream in both modes of inference: a piece's logits are dropped before the next one
    is read, and what it remembers is its cache.

    Raises:
        ValueError: ``infer_kv_cache`` of a module that keeps no cache.
    """
    if mode == "train_step":
        return _training(module, ids, beat)
    module.eval()
    if isinstance(module, ChunkedModule):
        return lambda: _stream(module, ids)
    if mode == "infer_no_cache":
        return lambda: _logits(cast(TokenModule, module), ids)
    if not isinstance(module, CachingModule):
        raise ValueError(f"a {type(module).__name__} keeps no cache: measure it with mode infer_no_cache")
    return lambda: _with_cache(module, ids)


@torch.inference_mode()
def _logits(module: TokenModule, ids: Tensor) -> Tensor:
    return module.output_head(module.hidden_states(ids))


@torch.inference_mode()
def _with_cache(module: CachingModule, ids: Tensor) -> tuple[Tensor, Any]:
    return module.logits_and_cache(ids)


@torch.inference_mode()
def _stream(module: Any, ids: Tensor) -> None:
    for states in module.chunks(ids):
        module.output_head(states)


def _training(module: nn.Module, ids: Tensor, beat: Callable[[], None]) -> Work:
    """Steps as :class:`trainables.training.session.TrainingSession` makes them, except that gradients stay between steps, as
    where they are accumulated: then all that a step can need is alive at once."""
    module.train()
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=_LEARNING_RATE, fused=True)
    batch = _batch(ids)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        torch.autograd.backward(_loss(module, batch))
        beat()
        optimizer.step()
        beat()

    return step


def _loss(module: nn.Module, batch: TokenBatch) -> Tensor:
    if isinstance(module, OwnLoss):
        return module.training_loss(batch)
    return -target_log_probabilities(module, batch).mean()


def _batch(ids: Tensor) -> TokenBatch:
    """Each row a document; targets are the tokens themselves, one later."""
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    documents = torch.arange(ids.shape[0], device=ids.device).unsqueeze(1).expand_as(ids)
    return TokenBatch(ids, ids.roll(-1, dims=1), documents, positions, torch.ones_like(ids, dtype=torch.bool), "train")
