"""Small models over series, their windows and a few steps of training."""

from weakref import WeakSet

import torch
from random_configurations import series_task
from torch import Tensor, nn
from torch.nn import functional

from trainables.registry import architectures

SMALL: dict[str, dict] = {
    "vq_mlp": {"dim": 8, "codebook_size": 12},
    "vq_ln_mlp": {"dim": 8, "codebook_size": 12},
    "vq_ln_pe_mlp": {"dim": 8, "codebook_size": 12, "block_size": 20},
    "grouped_vq_mlp": {"dim": 8, "groups": [6, 9, 6, 5]},
    "hierarchical_vq_mlp": {"dim": 8, "levels": [12, 7, 5]},
    "grouped_hierarchical_vq_mlp": {"dim": 8, "levels": [[4, 5], [9], [3, 3, 3, 3]]},
}
HARD_MODES = [
    {"vq_mode": "hard_ema"},
    {"vq_mode": "hard_ste"},
    {"vq_mode": "hard_ste", "codebook_trainable": True},
]


def build(name: str, *, seed: int = 0, channels: int = 1, **values: object) -> nn.Module:
    """The module of an architecture, small unless ``values`` say otherwise."""
    architecture = architectures()[name]
    torch.manual_seed(seed)
    model = architecture.configuration.from_values({**SMALL.get(name, {}), **values})
    return architecture.build(model, series_task(channels))


def windows(examples: int = 3, length: int = 10, channels: int = 1, seed: int = 1) -> Tensor:
    """(examples, length, channels) numbers from N(0, 1)."""
    return torch.randn(examples, length, channels, generator=torch.Generator().manual_seed(seed))


def loss_of(module: nn.Module, inputs: Tensor) -> Tensor:
    """A training loss: squared errors, and what a module adds to them."""
    predictions = module(inputs)
    loss = functional.mse_loss(predictions, inputs.roll(-1, dims=1)[:, -predictions.shape[1] :])
    auxiliary = getattr(module, "auxiliary_loss", None)
    return loss if auxiliary is None else loss + auxiliary


def train(module: nn.Module, steps: int = 3, seed: int = 2) -> None:
    """A few steps of Adam."""
    optimizer = torch.optim.Adam([parameter for parameter in module.parameters() if parameter.requires_grad], lr=1e-2)
    module.train()
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(module, windows(seed=seed + step)).backward()
        optimizer.step()


class _Kept:
    """A tensor as long as the graph needs it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def kept_per_example(module: nn.Module, inputs: Tensor) -> float:
    """Four-byte elements that autograd keeps for the backward pass, parameters and buffers left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: WeakSet[_Kept] = WeakSet()

    def keep(tensor: Tensor) -> _Kept:
        holder = _Kept(tensor.detach())  # an output with its graph would keep itself alive
        kept.add(holder)
        return holder

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda holder: holder.tensor):
        total = loss_of(module, inputs)
    assert total.requires_grad
    storages = {storage.data_ptr(): storage for holder in kept for storage in [holder.tensor.untyped_storage()]}
    return sum(storage.nbytes() for address, storage in storages.items() if address not in own) / 4 / len(inputs)
