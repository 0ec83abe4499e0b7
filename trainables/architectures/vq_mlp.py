"""A soft read from one codebook."""

from __future__ import annotations

from typing import Any

from trainables.architecture import register_architecture
from trainables.layers.codebook.configuration import POSITION_TABLE_RULE, OneCodebookConfiguration
from trainables.layers.codebook.model import CodebookModel
from trainables.layers.codebook.plan import CodebookPlan


@register_architecture("vq_mlp", configuration=OneCodebookConfiguration, kind="series", pair_rules=(POSITION_TABLE_RULE,))
class VqMlp(CodebookModel):
    """A soft read, softmax(h C^T / sqrt(D)) C, of each encoded value from one fixed codebook, without a norm; pointwise in time.

    VQMLP of donglinkang2021/simple-sequence-prediction.
    """

    @staticmethod
    def plan(model: Any) -> CodebookPlan:
        return CodebookPlan([[model.codebook_size]], first_norm=False)
