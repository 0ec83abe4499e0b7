"""The hyperparameters of ``memo_gpt``, and what they ask of a backbone and of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from trainables.columns import by_row
from trainables.configuration import Rule, hyperparameter
from trainables.pretrained.backbone import Backbone, BackboneConfiguration, backbone_rule
from trainables.pretrained.sizes import model_sizes
from trainables.sequence_length import sequence_length

ROTARY = ("llama", "qwen2")
"""Types of models whose layers are known; their positions are rotations, which the rows of a memory go without."""


@dataclass(frozen=True, kw_only=True)
class MemoGptConfiguration(BackboneConfiguration):
    """The memory of each layer, and the blocks in which a sequence is read."""

    short_term_memory: int = hyperparameter(32, "rows S of the short-term memory of each layer", minimum=1)
    input_block: int = hyperparameter(64, "tokens Wi that each token sees, itself included; as many are read first", minimum=1)
    memory_block: int = hyperparameter(32, "tokens Wm from one write of the memory to the next", minimum=1)
    visible_snapshots: int = hyperparameter(1, "newest snapshots N that the short-term memory reads when written", minimum=0)
    ltm_capacity: int = hyperparameter(64, "snapshots of former short-term memories that are kept", minimum=1)
    ltm_visible_to_input: Literal["all", "none", "last_n"] = hyperparameter(
        "all", "snapshots that tokens read: all, none, or the newest, as many as visible_snapshots"
    )
    dual_ffn: bool = hyperparameter(False, "memories pass o_proj and a frozen copy of the feed-forward layer, as tokens do")
    recompute: bool = hyperparameter(
        False, "training keeps of a window what it reads and computes it again for the backward pass: less memory, more time"
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *BackboneConfiguration.rules,
        Rule(
            lambda c: c.memory_block <= c.input_block,
            "memory_block must be at most input_block, or tokens would leave the window before the memory has seen them: lower "
            "memory_block",
        ),
    )


def shortest_sequence(task: Any) -> Any:
    """Tokens of the shortest sequence over which a memory is carried; fields may be NumPy arrays."""
    if hasattr(task, "train_length"):
        return np.minimum(task.train_length, task.val_length)
    windows = [getattr(task, name) for name in ("segments", "eval_segments") if hasattr(task, name)]
    return sequence_length(task) * (np.minimum(*windows) if len(windows) == 2 else windows[0] if windows else 1)


def unfit_layers(value: Any) -> str | None:
    """Why a backbone cannot have this memory, None where it can."""
    config = Backbone.of(value).config
    sizes = model_sizes(config)
    if config["model_type"] not in ROTARY:
        return f"a {config['model_type']} has no layers that this memory knows: take a {' or a '.join(ROTARY)}"
    if sizes.heads * sizes.head_width != sizes.width:
        return (
            f"its {sizes.heads} heads of {sizes.head_width} are not as wide as its states ({sizes.width}), which memories are: "
            "take a model with heads * head_dim = hidden_size"
        )
    if not first_token(config) < sizes.vocabulary:
        return f"its eos_token_id {first_token(config)} is none of its {sizes.vocabulary:,} tokens: put config.json right"
    return None


def first_token(config: Any) -> int:
    """The token of which the first memory is made: the end of a text, the first where there are several, else the last token."""
    ends = config.get("eos_token_id")
    found = ends[0] if isinstance(ends, (list, tuple)) and ends else ends
    return found if isinstance(found, int) else model_sizes(config).vocabulary - 1


def read_positions(model: Any) -> Any:
    """Positions that a window reaches over: those of the short-term memory stay free."""
    return model.short_term_memory + model.input_block + model.memory_block


def known_positions(value: Any) -> float:
    positions = model_sizes(Backbone.of(value).config).positions
    return float("inf") if positions is None else positions


PAIR_RULES = (
    backbone_rule(reads_whole=False),
    Rule(
        lambda model, task: by_row(lambda value, _: unfit_layers(value) is None, model.backbone, task),
        f"this memory needs the rotary layers of a {' or a '.join(ROTARY)}, with heads * head_dim = "
        "hidden_size: take such a backbone",
    ),
    Rule(
        lambda model, task: read_positions(model) <= by_row(lambda value, _: known_positions(value), model.backbone, task),
        "short_term_memory + input_block + memory_block must be at most the positions of the backbone: lower them",
    ),
    Rule(
        lambda model, task: shortest_sequence(task) >= model.input_block,
        "a sequence shorter than a chunk never writes the memory: lower input_block to at most its tokens, or lengthen sequences",
    ),
)


def pair_problems(model: MemoGptConfiguration, task: Any) -> list[tuple[str | None, str]]:
    """What exactly :data:`PAIR_RULES` have against a pair, each with its field."""
    problem = Backbone.of(model.backbone).problem_with(task, reads_whole=False) or unfit_layers(model.backbone)
    if problem is not None:
        return [("backbone", problem)]
    wanted, known, shortest = read_positions(model), known_positions(model.backbone), shortest_sequence(task)
    problems: list[tuple[str | None, str]] = []
    if wanted > known:
        text = f"with short_term_memory and memory_block it reaches over {wanted:,} positions, and the backbone has {known:,.0f}"
        problems.append(("input_block", f"{text}: lower them"))
    if shortest < model.input_block:
        text = f"is {model.input_block:,}, and a sequence of the task has {shortest:,} tokens, so it would never write the memory"
        problems.append(("input_block", f"{text}: lower it to at most {shortest:,}, or lengthen the sequences"))
    return problems
