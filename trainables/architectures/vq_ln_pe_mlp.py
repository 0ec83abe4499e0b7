"""A soft read from one codebook, with positions."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.architecture import register_architecture
from trainables.architectures.vq_ln_mlp import VqLnMlp, VqLnMlpConfiguration
from trainables.configuration import hyperparameter
from trainables.layers.codebook.configuration import POSITION_MEANING, POSITION_TABLE_RULE, Position


@dataclass(frozen=True, kw_only=True)
class VqLnPeMlpConfiguration(VqLnMlpConfiguration):
    pos: Position = hyperparameter("rand", POSITION_MEANING)


@register_architecture("vq_ln_pe_mlp", configuration=VqLnPeMlpConfiguration, kind="series", pair_rules=(POSITION_TABLE_RULE,))
class VqLnPeMlp(VqLnMlp):
    """vq_ln_mlp with a fixed random position table, added before the norm; pointwise in time but for the position.

    VQLNPEMLP of donglinkang2021/simple-sequence-prediction.
    """
