"""The prompts of the six tasks: pieces of a row of their public datasets in fixed words, and the label behind them.

The layouts are those of the published code of "Tuning keys v.s. values" (arXiv 2402.12233), the two instructions in our words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given; only ``context`` may be cut where all of it is too long."""

    before: str
    context: str
    after: str

    @property
    def text(self) -> str:
        return self.before + self.context + self.after

    def cut(self, characters: int) -> Prompt:
        """With the first ``characters`` of the context."""
        return Prompt(self.before, self.context[:characters], self.after)


Texts = Mapping[str, Any]
"""Of a row its texts by column; ``options`` is a sequence of four."""


def newsgroups_prompt(row: Texts) -> Prompt:
    return Prompt("### Sentence:", row["text"], " ### Class:")


def boolq_prompt(row: Texts) -> Prompt:
    instruction = "Read the passage and answer the question with true or false."
    return Prompt(f"{instruction} ### Question:{row['question']} ### Passage: ", row["passage"], " ### Answer:")


def copa_prompt(row: Texts) -> Prompt:
    choices = f" ### Choice1:{row['choice1']} ### Choice2:{row['choice2']}"
    return Prompt("### Premise:", row["premise"], f"{choices} ### Question:{row['question']} ### Choice:")


def cb_prompt(row: Texts) -> Prompt:
    cue = "### Relationship (entailment, contradiction or neutral):"
    return Prompt("### Premise:", row["premise"], f" ### Hypothesis:{row['hypothesis']} {cue}")


def race_prompt(row: Texts) -> Prompt:
    first, second, third, fourth = _four(row["options"])
    options = f" ### Options:A.{first}. B.{second}. C.{third}. D.{fourth}### Choice:"
    instruction = "Read the context and answer the question."
    return Prompt(f"{instruction} ### Context:", row["article"], f" ### Question:{row['question']}{options}")


def qnli_prompt(row: Texts) -> Prompt:
    """The cue says "not entailment" and the label is "not_entailment", as published."""
    cue = "### Relationship ('entailment' and 'not entailment'):"
    return Prompt(f"### Premise:{row['question']} ### Hypothesis:", row["sentence"], f" {cue}")


def _four(options: Sequence[str]) -> Sequence[str]:
    if len(options) != 4:
        raise ValueError(f"a question has four options, not {len(options)}")
    return options
