"""From documents to splits: exact sizes, boundaries, what is shared and what is said where there is too little."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.configuration import ConfigurationError
from trainables.language import SPLITS
from trainables.tasks._language.splitting import split_corpus
from trainables.tasks._language.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()


def sizes(train: int, fit: int, val: int, test: int) -> dict:
    return dict(zip(SPLITS, (train, fit, val, test), strict=True))


def documents_of(tokens: np.ndarray) -> list[str]:
    return [
        bytes(part[1:].astype(np.uint8)).decode(errors="replace") for part in np.split(tokens, np.flatnonzero(tokens == 256))[1:]
    ]


texts = st.lists(st.text(st.sampled_from("ab \néß"), min_size=1, max_size=30), min_size=1, max_size=12)


@settings(deadline=None, max_examples=200)
@given(texts, st.tuples(*[st.integers(1, 20)] * 4), st.integers(0, 3))
def test_splits_have_exactly_what_is_asked_for_whenever_there_is_enough(documents, asked, seed) -> None:
    total = sum(1 + len(text.encode()) for text in documents if text.strip())
    targets = sizes(*asked)
    try:
        found = split_corpus({"train": documents}, targets, BYTES, seed)
    except ConfigurationError:
        assert total - 4 < sum(asked)
        return
    # Each split but the first may begin inside a document, which gives it a boundary more.
    assert total - 1 >= sum(asked)
    for split, made in found.items():
        assert len(made.tokens) == len(made.documents) == targets[split] + 1
        assert made.tokens[0] == 256
        assert np.array_equal(np.cumsum(made.tokens == 256) - 1, made.documents)
        assert made.bytes == (made.tokens != 256).sum()
        assert made.words == sum(len(text.split()) for text in documents_of(made.tokens))


def test_whole_documents_go_to_one_split_where_there_is_enough_text() -> None:
    documents = [letter * 30 for letter in "abcdefghijkl"]
    made = split_corpus({"train": documents}, sizes(70, 20, 20, 20), BYTES, seed=0)
    letters = [{character for text in documents_of(made[split].tokens) for character in text} for split in SPLITS]
    assert sum(map(len, letters)) == len(set.union(*letters))


def test_the_seed_decides_which_documents_a_corpus_without_parts_gives_to_which_split() -> None:
    documents = [letter * 30 for letter in "abcdefghijkl"]
    one, same, other = (split_corpus({"train": documents}, sizes(70, 20, 20, 20), BYTES, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(one[split].tokens, same[split].tokens) for split in SPLITS)
    assert not all(np.array_equal(one[split].tokens, other[split].tokens) for split in SPLITS)


def test_a_single_text_is_divided_at_paragraphs_in_its_order() -> None:
    text = "".join(f"Paragraph {number} has some words.\n\n" for number in range(30))
    made = split_corpus({"train": [text]}, sizes(300, 80, 80, 80), BYTES, seed=0)
    parts = [documents_of(made[split].tokens) for split in SPLITS]
    assert [len(part) for part in parts] == [1, 1, 1, 1]
    assert all(part[0].startswith("Paragraph") for part in parts)
    numbers = [[int(number) for number in re.findall(r"Paragraph (\d+) ", part[0])] for part in parts]
    in_order = [number for part in numbers for number in part]
    assert in_order == sorted(set(in_order))


def test_parts_of_a_corpus_stay_apart_and_keep_their_order() -> None:
    parts = {"train": ["t" * 50], "validation": ["v" * 9, "w" * 40, "x" * 9], "test": ["s" * 50]}
    made = split_corpus(parts, sizes(20, 12, 5, 20), BYTES, seed=3)
    assert [documents_of(made[split].tokens) for split in SPLITS] == [["t" * 20], ["v" * 9, "w" * 2], ["x" * 5], ["s" * 20]]


def test_a_corpus_without_a_test_part_is_tested_on_its_validation_part() -> None:
    made = split_corpus({"train": ["t" * 50], "validation": ["v" * 60]}, sizes(20, 10, 10, 10), BYTES, seed=0)
    assert set(documents_of(made["test"].tokens)[0]) == {"v"}


def test_too_few_tokens_are_said_with_their_number_and_who_asks() -> None:
    parts = {"train": ["t" * 50], "validation": ["v" * 9, "w" * 20], "test": ["s" * 5]}
    with pytest.raises(ConfigurationError) as caught:
        split_corpus(parts, sizes(20, 20, 20, 3), BYTES, seed=0)
    assert caught.value.problems == [
        ("val_tokens", "the corpus has 29 tokens for validation and fit_tokens + val_tokens ask for 40: lower them")
    ]
    with pytest.raises(ConfigurationError) as caught:
        split_corpus(parts, sizes(20, 10, 10, 9), BYTES, seed=0)
    assert caught.value.problems == [("test_tokens", "the corpus has 5 tokens for test and test_tokens asks for 9: lower it")]


def test_a_corpus_of_blank_documents_has_no_text() -> None:
    with pytest.raises(ConfigurationError, match="no text for train"):
        split_corpus({"train": [" \n", ""]}, sizes(1, 1, 1, 1), BYTES, seed=0)
