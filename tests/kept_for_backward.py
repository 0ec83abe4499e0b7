"""What autograd keeps for the backward pass, against which closed forms are held."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def elements_kept(module: nn.Module, forward: Callable[[], Tensor | None]) -> float:
    """Numbers in single precision that are kept while ``forward`` runs: each storage once, the weights of ``module`` aside.

    ``forward`` gives a loss, or nothing where it takes the backward pass itself.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    assert loss is None or loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / 4
