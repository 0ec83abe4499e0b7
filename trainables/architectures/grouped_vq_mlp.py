"""Soft reads from several narrow codebooks side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.layers.codebook.configuration import (
    POSITION_TABLE_RULE,
    GroupedConfiguration,
    as_list,
    is_normalisable,
    splits,
)
from trainables.layers.codebook.model import CodebookModel
from trainables.layers.codebook.plan import CodebookPlan


@dataclass(frozen=True, kw_only=True)
class GroupedVqMlpConfiguration(GroupedConfiguration):
    groups: list[int] = hyperparameter([512, 512], "rows of each group's codebook, which reads dim / groups numbers", minimum=1)

    rules: ClassVar[tuple[Rule, ...]] = (
        *GroupedConfiguration.rules,
        Rule(
            lambda c: splits(c.dim, c.groups),
            "dim is divided among the groups: make it a multiple of their number, which is at least 1",
        ),
        Rule(
            lambda c: is_normalisable(c.dim, c.groups),
            "a LayerNorm of one number is a constant: make dim at least twice the number of groups",
        ),
    )


@register_architecture(
    "grouped_vq_mlp", configuration=GroupedVqMlpConfiguration, kind="series", pair_rules=(POSITION_TABLE_RULE,)
)
class GroupedVqMlp(CodebookModel):
    """Soft reads from a narrow codebook for each group of coordinates; their combinations are many, their rows few; pointwise.

    MHVQLNMLP of donglinkang2021/simple-sequence-prediction, with sizes of their own for the groups. With G groups of V_g rows
    there are prod V_g combinations; the sum of V_g rows, each D/G wide, is stored.
    """

    @staticmethod
    def plan(model: Any) -> CodebookPlan:
        return CodebookPlan([as_list(model.groups)], scale_by=model.scale_by)
