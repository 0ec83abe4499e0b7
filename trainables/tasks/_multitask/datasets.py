"""The six tasks: which columns their rows have, which labels there are, and where they are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainables.tasks._multitask.prompts import (
    Prompt,
    Texts,
    boolq_prompt,
    cb_prompt,
    copa_prompt,
    newsgroups_prompt,
    qnli_prompt,
    race_prompt,
)

NEWSGROUPS = (
    *("alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"),
    *("comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey"),
    *("sci.crypt", "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns"),
    *("talk.politics.mideast", "talk.politics.misc", "talk.religion.misc"),
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One classification task as its public dataset has it."""

    name: str
    texts: tuple[str, ...]
    """Columns of the prompt."""
    labels: tuple[str, ...]
    """Label strings; a whole number in a row counts them from 0, as the public dataset does."""
    prompt: Callable[[Texts], Prompt]
    label_columns: tuple[str, ...] = ("label",)
    """Of these the first that is there."""
    evaluated: tuple[str, ...] = ("validation", "test")
    """What the part may be called on which is evaluated; the first that is there."""
    drops_empty: bool = False
    """Whether rows without text are left out, as in the published code."""


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("20_newsgroups", ("text",), NEWSGROUPS, newsgroups_prompt, evaluated=("test", "validation"), drops_empty=True),
        Dataset("boolq", ("question", "passage"), ("false", "true"), boolq_prompt, ("label", "answer")),
        Dataset("copa", ("premise", "choice1", "choice2", "question"), ("Choice1", "Choice2"), copa_prompt),
        Dataset("cb", ("premise", "hypothesis"), ("entailment", "contradiction", "neutral"), cb_prompt),
        Dataset("race_high", ("article", "question", "options"), ("A", "B", "C", "D"), race_prompt, ("answer", "label")),
        Dataset("qnli", ("question", "sentence"), ("entailment", "not_entailment"), qnli_prompt),
    )
}


@dataclass(frozen=True, slots=True)
class Example:
    prompt: Prompt
    label: int
    """Its place in the labels of the dataset."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Of one dataset, in the order of its rows."""

    train: list[Example]
    validation: list[Example]
    dropped: int = 0
    """Rows without text that were passed over."""
