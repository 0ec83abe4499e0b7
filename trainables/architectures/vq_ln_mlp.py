"""A soft read from one codebook, after a LayerNorm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from trainables.architecture import register_architecture
from trainables.configuration import Rule
from trainables.layers.codebook.configuration import POSITION_TABLE_RULE, OneCodebookConfiguration
from trainables.layers.codebook.model import CodebookModel
from trainables.layers.codebook.plan import CodebookPlan


@dataclass(frozen=True, kw_only=True)
class VqLnMlpConfiguration(OneCodebookConfiguration):
    rules: ClassVar[tuple[Rule, ...]] = (
        *OneCodebookConfiguration.rules,
        Rule(lambda c: c.dim >= 2, "a LayerNorm of one number is a constant: make dim at least 2"),
    )


@register_architecture("vq_ln_mlp", configuration=VqLnMlpConfiguration, kind="series", pair_rules=(POSITION_TABLE_RULE,))
class VqLnMlp(CodebookModel):
    """A soft read of each encoded and normalised value from one fixed codebook; pointwise in time.

    VQLNMLP of donglinkang2021/simple-sequence-prediction.
    """

    @staticmethod
    def plan(model: Any) -> CodebookPlan:
        return CodebookPlan([[model.codebook_size]])
