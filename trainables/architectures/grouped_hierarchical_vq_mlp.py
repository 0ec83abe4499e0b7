"""Soft reads from several narrow codebooks side by side, in levels one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, ClassVar

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.layers.codebook.configuration import (
    POSITION_TABLE_RULE,
    GroupedConfiguration,
    LevelsConfiguration,
    as_list,
    is_normalisable,
    splits,
)
from trainables.layers.codebook.model import CodebookModel
from trainables.layers.codebook.plan import CodebookPlan


@dataclass(frozen=True, kw_only=True)
class GroupedHierarchicalVqMlpConfiguration(LevelsConfiguration, GroupedConfiguration):
    dim: int = hyperparameter(40, "width of the vectors that read from the codebooks", minimum=1)
    levels: list[list[int]] = hyperparameter(
        [[4, 4, 4, 4, 4], [16, 16], [32]], "of each level, nearest the input first, the rows of each group's codebook", minimum=1
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *LevelsConfiguration.rules,
        Rule(lambda c: len(as_list(c.levels)) > 0, "there is nothing to read from: give levels at least one list of codebooks"),
        Rule(
            lambda c: reduce(and_, [splits(c.dim, level) for level in as_list(c.levels)], True),
            "dim is divided among the groups of each level: make it a multiple of their numbers (each at least 1)",
        ),
        Rule(
            lambda c: reduce(and_, [_is_normalisable(c, level) for level in range(len(as_list(c.levels)))], True),
            "a LayerNorm of one number is a constant: make dim at least twice the number of groups of each level, "
            "or set level_norm: none (the first level is normalised all the same)",
        ),
    )


def _is_normalisable(model: Any, level: int) -> Any:
    wide_enough = is_normalisable(model.dim, model.levels[level])
    return wide_enough | ((model.level_norm == "none") & (level > 0))


@register_architecture(
    "grouped_hierarchical_vq_mlp",
    configuration=GroupedHierarchicalVqMlpConfiguration,
    kind="series",
    pair_rules=(POSITION_TABLE_RULE,),
)
class GroupedHierarchicalVqMlp(CodebookModel):
    """Levels of grouped soft reads, one behind the other, from fixed codebooks; pointwise in time.

    The second and third method of the notes behind donglinkang2021/simple-sequence-prediction together: five groups of 4 rows,
    two of 16, one of 32 have the combinations of 1024, 256 and 32 rows.
    """

    @staticmethod
    def plan(model: Any) -> CodebookPlan:
        levels = [as_list(level) for level in as_list(model.levels)]
        return CodebookPlan(levels, level_norm=model.level_norm, residual=model.residual, scale_by=model.scale_by)
