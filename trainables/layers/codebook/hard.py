"""The hard read: each vector is replaced by the nearest row of a codebook (van den Oord et al. 2017), with a library's rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.layers.codebook.configuration import CodebookConfiguration
from trainables.layers.codebook.soft import split


class HardCodebooks(nn.Module):
    """The codebooks of one level, each a ``VectorQuantize`` of vector-quantize-pytorch that begins with rows from N(0, 1).

    ``hard_ema``: rows follow the moving average of the vectors that chose them, in training mode only; the averages are buffers
    and part of the state. ``hard_ste``: rows are fixed, or with ``codebook_trainable`` learned through the commitment loss.
    Either way the gradient of what was read passes straight through to the vector. The library keeps its averages under
    ``hard_ste`` too, unused; they count as stored.
    """

    commitment_loss: Tensor | None = None
    """After a call in training mode the sum over the codebooks; None after a call in evaluation mode."""

    def __init__(self, dim: int, sizes: Sequence[int], model: CodebookConfiguration) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.quantizers = nn.ModuleList(_quantizer(torch.randn(size, dim // len(self.sizes)), model) for size in self.sizes)

    def codebooks(self) -> list[Tensor]:
        """The rows of each codebook, (V_g, D/G)."""
        return [cast(Tensor, quantizer.codebook) for quantizer in self.quantizers]

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """(B, T, D) to (B, T, D); a ``frozen`` read leaves moving averages and the commitment loss alone."""
        read = self._quantize(x, frozen)
        if not frozen:
            self.commitment_loss = torch.stack([loss for _, _, loss in read]).sum() if self.training else None
        return torch.cat([values for values, _, _ in read], dim=-1)

    def choose(self, x: Tensor) -> list[Tensor]:
        """Of (B, T, D) vectors the nearest row of each codebook, (B, T) int64."""
        return [chosen for _, chosen, _ in self._quantize(x, frozen=True)]

    def _quantize(self, x: Tensor, frozen: bool) -> list[tuple[Tensor, Tensor, Tensor]]:
        parts = split(x, len(self.sizes))
        return [quantizer(part, freeze_codebook=frozen) for quantizer, part in zip(self.quantizers, parts, strict=True)]


def _quantizer(rows: Tensor, model: CodebookConfiguration) -> nn.Module:
    """The library's module with ``rows`` (V, d) as its codebook and as its moving averages."""
    vector_quantize = _library()
    # The library's draws, which we replace, must not change what is drawn after them.
    with torch.random.fork_rng(devices=[]):
        quantizer: nn.Module = vector_quantize(rows.shape[1], len(rows), **_options(model))
    state = quantizer.state_dict()
    for name, value in state.items():
        if name.rpartition(".")[2] in ("embed", "embed_avg"):
            value.copy_(rows)
    return quantizer


def _library() -> Callable[..., nn.Module]:
    """``VectorQuantize``, imported where it is needed: soft models need torch alone.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        from vector_quantize_pytorch import VectorQuantize
    except ModuleNotFoundError as error:
        message = "hard modes need a library: install vector-quantize-pytorch (1.31 or newer, below 2), or set vq_mode: soft"
        raise ModuleNotFoundError(message, name=error.name) from error
    return cast(Callable[..., nn.Module], VectorQuantize)


def _options(model: CodebookConfiguration) -> dict[str, Any]:
    """Every option that changes results; its defaults differ between versions."""
    return {
        "heads": 1,
        "decay": model.ema_decay,
        "eps": 1e-5,
        "freeze_codebook": False,
        "kmeans_init": False,
        "use_cosine_sim": False,
        "threshold_ema_dead_code": 0,
        "commitment_weight": model.commitment_weight,
        "commitment_use_cross_entropy_loss": False,
        "orthogonal_reg_weight": 0.0,
        "codebook_diversity_loss_weight": 0.0,
        "stochastic_sample_codes": False,
        "straight_through": False,
        "rotation_trick": False,
        "directional_reparam": False,
        "sync_codebook": False,
        "ema_update": model.vq_mode == "hard_ema",
        "manual_ema_update": False,
        "learnable_codebook": model.codebook_trainable,
        "affine_param": False,
        "sync_update_v": 0.0,
        "route_gradients_to_input": True,
    }
