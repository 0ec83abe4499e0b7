"""Options of all codebook memories; which codebooks they read from is the architecture's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from trainables.configuration import Configuration, Rule, hyperparameter

Position = Literal["none", "rand", "sin", "rope"]
Mode = Literal["soft", "hard_ema", "hard_ste"]
Scale = Literal["model", "head"]
LevelNorm = Literal["plain", "affine", "none"]
Residual = Literal["none", "add"]
Order = Literal["dec", "inc"]


POSITION_MEANING = "position in the window: a fixed random or sinusoidal table that is added, or rotary turns, or none"


@dataclass(frozen=True, kw_only=True)
class CodebookConfiguration(Configuration):
    """What every codebook memory has."""

    dim: int = hyperparameter(64, "width of the vectors that read from the codebooks", minimum=1)
    pos: Position = hyperparameter("none", POSITION_MEANING)
    position_std: float = hyperparameter(
        0.01, "spread of the added positions: standard deviation of rand, root mean square of sin", minimum=0.0
    )
    block_size: int = hyperparameter(512, "rows of the random position table: the longest window", minimum=1)
    vq_mode: Mode = hyperparameter(
        "soft",
        "read all rows by softmax (soft), or the nearest row alone: learned by moving averages (hard_ema), "
        "or fixed or learned by gradient (hard_ste)",
    )
    codebook_trainable: bool = hyperparameter(False, "learn the codebooks by gradient; else they stay as they were drawn")
    commitment_weight: float = hyperparameter(
        1.0, "hard modes: weight of the squared distance between vectors and their rows in the training loss", above=0.0
    )
    ema_decay: float = hyperparameter(0.8, "hard_ema: share of a moving average that a batch leaves", minimum=0.0, maximum=1.0)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            lambda c: ((c.pos != "sin") & (c.pos != "rope")) | (c.dim % 2 == 0),
            "sinusoidal and rotary positions pair coordinates: make dim even, or set pos to none or rand",
        ),
        Rule(
            lambda c: (c.vq_mode != "hard_ema") | (c.codebook_trainable == False),  # noqa: E712 - it may be a column
            "under vq_mode: hard_ema moving averages write the codebooks, no gradient does: set codebook_trainable: false, "
            "or vq_mode: hard_ste",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class OneCodebookConfiguration(CodebookConfiguration):
    """What memories with a single codebook have besides."""

    codebook_size: int = hyperparameter(512, "rows of the codebook", minimum=1)


@dataclass(frozen=True, kw_only=True)
class GroupedConfiguration(CodebookConfiguration):
    """What memories with codebooks side by side have besides."""

    scale_by: Scale = hyperparameter("model", "divide products by the square root of dim (model) or of a group's width (head)")


@dataclass(frozen=True, kw_only=True)
class LevelsConfiguration(CodebookConfiguration):
    """What memories with codebooks one behind the other have besides."""

    level_norm: LevelNorm = hyperparameter("plain", "LayerNorm between levels: plain, affine (with learned gains), or none")
    residual: Residual = hyperparameter("none", "add: each read is added to what read it")


POSITION_TABLE_RULE = Rule(
    lambda model, task: (model.pos != "rand") | (task.time_steps <= model.block_size),
    "the random position table has block_size rows, one for each step of a window: raise block_size or lower task.time_steps",
)
"""The rule over every pair of a codebook memory and a task."""


def as_list(sizes: Any) -> Sequence[Any]:
    """``sizes`` as the list that it is.

    Raises:
        TypeError: it is a column of lists; those are looked at one by one.
    """
    if not isinstance(sizes, (list, tuple)):
        raise TypeError(f"expected a list of codebook sizes, got {type(sizes).__name__}")
    return sizes


def splits(dim: Any, groups: Any) -> Any:
    """Whether ``dim`` can be divided among the codebooks of one level: a truth value, or an array of them."""
    count = len(as_list(groups))
    return count > 0 and dim % count == 0


def is_normalisable(dim: Any, groups: Any) -> Any:
    """Whether each group is at least two numbers wide: one number alone is normalised to a constant, whatever it was."""
    return dim >= 2 * len(as_list(groups))
