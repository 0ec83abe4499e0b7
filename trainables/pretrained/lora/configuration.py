"""What every architecture with low-rank adapters has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainables.configuration import hyperparameter
from trainables.pretrained.backbone import BackboneConfiguration

_BELOW_ONE = 0.999999


@dataclass(frozen=True, kw_only=True)
class LoraConfiguration(BackboneConfiguration):
    """Of adapters after Hu et al. 2022, 'LoRA: Low-Rank Adaptation of Large Language Models' (arXiv 2106.09685)."""

    lora_r: int = hyperparameter(8, "rank r of each adapter", minimum=1)
    lora_alpha: float = hyperparameter(16.0, "what adapters add is multiplied by lora_alpha / lora_r", above=0)
    dropout: float = hyperparameter(0.1, "share of an adapter's input that is dropped in training", minimum=0, maximum=_BELOW_ONE)
    target_modules: list[str] | None = hyperparameter(
        None, "names of the linear layers that get adapters, such as c_attn or mlp.c_proj; null: those of the architecture"
    )
    quantize: Literal["nf4"] | None = hyperparameter(
        None, "nf4 holds the frozen matrices in 4 bits (NormalFloat, double quantisation), computing in bfloat16"
    )
