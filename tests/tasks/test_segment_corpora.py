"""Corpora of which only training and validation text are wanted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segment_texts import configured

from trainables.configuration import ConfigurationError
from trainables.language import SPLITS
from trainables.tasks._language.corpora import corpus_tokens, told_pages
from trainables.tasks._language.facts import facts_corpus
from trainables.tasks._language.tokenizers import ByteTokenizer
from trainables.tasks.segment_lm import SegmentLmTask

TEXT = "".join(f"Line {number} of a text.\n" for number in range(300))


def problem(**values: Any) -> tuple[str | None, str]:
    with pytest.raises(ConfigurationError) as caught:
        SegmentLmTask.inspect(configured(**values))
    (found,) = caught.value.problems
    return found


@pytest.mark.parametrize("corpus", ["facts", "stdlib", "text.txt"])
def test_splits_that_are_not_wanted_are_not_there(tmp_path: Path, corpus: str) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    made = corpus_tokens(configured(corpus=corpus if "." not in corpus else str(tmp_path / corpus)))
    assert {split: len(tokens.tokens) for split, tokens in made.items()} == {"train": 1501, "val": 901}


def test_a_part_of_which_nothing_is_wanted_may_be_blank(tmp_path: Path) -> None:
    for name, text in (("train", "t" * 2000), ("validation", "v" * 901), ("test", " ")):
        (tmp_path / f"{name}.txt").write_text(text)
    made = corpus_tokens(configured(corpus=str(tmp_path)))
    assert {split: set(tokens.tokens.tolist()) for split, tokens in made.items()} == {
        "train": {256, ord("t")},
        "val": {256, ord("v")},
    }


def test_too_little_text_is_said_of_what_is_wanted_alone(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("x" * 500)
    message = "the corpus has 499 tokens and train_tokens + val_tokens ask for 2,400: lower them"
    assert problem(corpus=str(tmp_path / "short.txt")) == ("val_tokens", message)
    field, message = problem(val_tokens=50000)
    assert field == "val_tokens" and message.endswith(" on the 50,000 tokens of val: lower val_tokens, or raise train_tokens")


def test_what_is_trained_on_is_the_same_whether_other_splits_are_wanted_or_not() -> None:
    def count(text: str) -> int:
        return 1 + len(text)

    wanted = facts_corpus(dict(zip(SPLITS, (3000, 100, 200, 100), strict=True)), 1, count)
    alone = facts_corpus(dict(zip(SPLITS, (3000, 0, 0, 0), strict=True)), 1, count)
    assert alone == {"train": wanted["train"], "fit": [], "val": [], "test": []}


def test_pages_of_training_tell_the_facts_that_validation_repeats() -> None:
    configuration = configured()
    told = "".join(told_pages(configuration, ByteTokenizer()))
    made = corpus_tokens(configuration)["val"].tokens
    repeated = bytes(made[made != 256].astype(np.uint8)).decode().splitlines()[:-1]
    assert repeated and all(line[line.rindex(" of ") :] in told for line in repeated)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_segments": 7}, "n_segments must divide val_length"),
        ({"n_segments": 96}, "n_segments must divide val_length"),
        ({"train_length": 12}, "train_length must be a multiple of a segment"),
        ({"train_tokens": 23}, "a training crop has more tokens than there are train_tokens"),
        ({"val_tokens": 47}, "a validation crop has more tokens than there are val_tokens"),
        ({"train_tokens": 10_000_001}, "lower them, or name a corpus or tokens"),
        ({"tokens": "folder", "corpus": "stdlib"}, "tokens and corpus are two texts: leave one of them out"),
        ({"eval_crops": 1}, "eval_crops: must be at least 2"),
        ({"question_candidates": 1}, "question_candidates: must be at least 2"),
        ({"token_dtype": "int64"}, "token_dtype: expected one of uint16, uint32"),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configured(**values)


def test_sizes_of_a_corpus_do_not_bind_files_of_tokens() -> None:
    configured(tokens="folder", train_tokens=10, val_tokens=20_000_000)
