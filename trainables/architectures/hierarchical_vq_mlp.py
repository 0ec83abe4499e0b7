"""Soft reads from codebooks one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.layers.codebook.configuration import (
    POSITION_TABLE_RULE,
    LevelsConfiguration,
    Order,
    as_list,
)
from trainables.layers.codebook.model import CodebookModel
from trainables.layers.codebook.plan import CodebookPlan


@dataclass(frozen=True, kw_only=True)
class HierarchicalVqMlpConfiguration(LevelsConfiguration):
    levels: list[int] = hyperparameter(
        [512, 128, 32], "rows of each level's codebook; the first one is nearest the input", minimum=1
    )
    order: Order = hyperparameter(
        "dec", "dec: the input reads level 1, what it got level 2, ...; inc: level 1 reads level 2, ... and the input level 1"
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *LevelsConfiguration.rules,
        Rule(lambda c: len(as_list(c.levels)) > 0, "there is nothing to read from: give levels at least one codebook"),
        Rule(lambda c: c.dim >= 2, "a LayerNorm of one number is a constant: make dim at least 2"),
        Rule(
            lambda c: (c.order != "inc") | (c.vq_mode == "soft"),
            "under order: inc codebooks read from each other, which hard modes cannot: set vq_mode: soft, or order: dec",
        ),
    )


@register_architecture(
    "hierarchical_vq_mlp", configuration=HierarchicalVqMlpConfiguration, kind="series", pair_rules=(POSITION_TABLE_RULE,)
)
class HierarchicalVqMlp(CodebookModel):
    """Soft reads from several levels of fixed codebooks, one behind the other; pointwise in time.

    The third method of the notes behind donglinkang2021/simple-sequence-prediction, which gives it in words and sizes only: norms
    and residuals are our reading. ``dec``: 512 rows nearest the input, then 128, then 32. ``inc``: 32 rows nearest the input,
    filled from 128, which are filled from 512, so that a position costs 32 rows.
    """

    @staticmethod
    def plan(model: Any) -> CodebookPlan:
        levels = [[size] for size in as_list(model.levels)]
        return CodebookPlan(levels, level_norm=model.level_norm, residual=model.residual, order=model.order)
