"""Corpora and tokenisers: what is read, and what is said where it cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_corpora import configured, prepared, text_of

from trainables.configuration import ConfigurationError
from trainables.language import SPLITS
from trainables.tasks._language.corpora import corpus_tokens
from trainables.tasks._language.facts import OBJECTS, REPEATING, facts_corpus
from trainables.tasks._language.standard_library import StandardLibrary
from trainables.tasks._language.tokenizers import ByteTokenizer, Tokenizer, tokenizer_of
from trainables.tasks.language_modeling import LanguageModelingTask

TEXT = "".join(f"Line {number} of a text, größer than the one before.\n" for number in range(60))


def problem(**values: object) -> tuple[str | None, str]:
    """What `inspect` says of a configuration."""
    with pytest.raises(ConfigurationError) as caught:
        LanguageModelingTask.inspect(configured(**values))
    (found,) = caught.value.problems
    return found


def saved_tokenizer(path: Path, boundary: str | None = "</s>", size: int = 300) -> int:
    """A byte-level tokeniser trained on the spot; its number of tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    special = [] if boundary is None else [boundary]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.enable_truncation(7)
    tokenizer.save(str(path))
    return int(tokenizer.get_vocab_size())


def test_a_text_file_is_one_document_divided_at_its_lines(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    task = prepared(tmp_path, corpus=str(tmp_path / "book.txt"))
    for split in SPLITS:
        (document,) = text_of(task, split)
        assert document.startswith(b"Line ") and document in TEXT.encode()


def test_a_folder_of_texts_has_a_document_for_each_file_and_no_hidden_ones(tmp_path: Path) -> None:
    for letter in "abcdefghij":
        folder = tmp_path / letter
        folder.mkdir()
        (folder / "text.txt").write_text(letter * 300)
    (tmp_path / ".hidden.txt").write_text("z" * 9999)
    (tmp_path / "picture.png").write_bytes(b"\xff")
    made = corpus_tokens(configured(corpus=str(tmp_path)))
    seen = {chr(token) for split in made.values() for token in split.tokens if token != 256}
    assert seen <= set("abcdefghij") and len(seen) >= 6
    assert made["train"].documents[-1] == 3


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
@pytest.mark.parametrize("as_folders", [True, False])
def test_a_folder_may_have_its_own_parts(tmp_path: Path, name: str, as_folders: bool) -> None:
    for part, letter in (("train", "t"), (name, "v"), ("test", "s")):
        path = tmp_path / part / "one.txt" if as_folders else tmp_path / f"{part}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(letter * 1200)
    made = corpus_tokens(configured(corpus=str(tmp_path)))
    assert {split: chr(tokens.tokens[1]) for split, tokens in made.items()} == dict(zip(SPLITS, "tvvs", strict=True))


def test_a_part_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "dev"):
        (tmp_path / f"{name}.txt").write_text(TEXT)
    field, message = problem(corpus=str(tmp_path))
    assert field == "corpus" and "val.txt and dev.txt for validation" in message


def test_datasets_that_were_saved_are_read_by_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [letter * 200 for letter in "abcdefghijklm"]
    datasets.Dataset.from_dict({"words": rows}).save_to_disk(str(tmp_path / "one"))
    parts = {"train": rows, "validation": ["v" * 400], "test": ["s" * 100]}
    named = {part: datasets.Dataset.from_dict({"text": texts}) for part, texts in parts.items()}
    datasets.DatasetDict(named).save_to_disk(str(tmp_path / "several"))
    one = corpus_tokens(configured(corpus=str(tmp_path / "one"), text_column="words"))
    assert one["train"].documents[-1] == 4
    several = corpus_tokens(configured(corpus=str(tmp_path / "several")))
    assert {chr(several[split].tokens[1]) for split in ("fit", "val")} == {"v"}
    assert problem(corpus=str(tmp_path / "one")) == (
        "text_column",
        "the dataset has no column 'text', it has words: name that of the texts",
    )
    (tmp_path / "one" / "state.json").write_text("{}")
    assert problem(corpus=str(tmp_path / "one"))[0] == "corpus"


def test_a_dataset_needs_a_part_to_train_on_and_a_column_of_texts(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    numbers = datasets.Dataset.from_dict({"text": [1, 2]})
    numbers.save_to_disk(str(tmp_path / "numbers"))
    datasets.DatasetDict({"test": numbers}).save_to_disk(str(tmp_path / "untrained"))
    assert problem(corpus=str(tmp_path / "numbers"))[1].startswith("column 'text' has no text in row 0 but int")
    assert "no part called train, it has test" in problem(corpus=str(tmp_path / "untrained"))[1]


def test_what_is_no_corpus_is_said(tmp_path: Path) -> None:
    assert problem(corpus=str(tmp_path / "gone"))[0] == "corpus"
    assert "no .txt file" in problem(corpus=str(tmp_path))[1]
    (tmp_path / "blank.txt").write_text(" \n\n")
    assert "no text for train" in problem(corpus=str(tmp_path))[1]
    (tmp_path / "latin.txt").write_bytes(b"gr" + "ö".encode("latin-1") + b"sse")
    field, message = problem(corpus=str(tmp_path / "latin.txt"))
    assert field == "corpus" and message.startswith("latin.txt is not UTF-8 text: byte 2 ")


def test_a_text_that_is_too_short_says_how_long_it_is(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("x" * 500)
    field, message = problem(corpus=str(tmp_path / "short.txt"))
    assert field == "test_tokens" and "the corpus has 497 tokens" in message and "ask for 1,310: lower them" in message


def test_a_tokenizer_file_gives_the_tokens_of_the_library(tmp_path: Path) -> None:
    size = saved_tokenizer(tmp_path / "tokenizer.json")
    library = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    library.no_truncation()
    (tmp_path / "text.txt").write_text(TEXT)
    values = {"corpus": str(tmp_path / "text.txt"), "train_tokens": 300, "vocab_size": size}
    for name in (tmp_path, tmp_path / "tokenizer.json"):
        made = corpus_tokens(configured(tokenizer=str(name), **values))
        train = made["train"].tokens
        assert train[0] == library.token_to_id("</s>") and len(train) == 301
        assert train[1:].tolist() == library.encode(TEXT).ids[:300]
        assert made["train"].bytes == len(library.decode(train[1:].tolist()).encode())
        assert made["train"].words == len(library.decode(train[1:].tolist()).split())
        assert library.decode(made["val"].tokens[1:5].tolist()).startswith("Line")


def test_what_does_not_fit_a_tokenizer_is_said(tmp_path: Path) -> None:
    size = saved_tokenizer(tmp_path / "tokenizer.json")
    assert problem(tokenizer=str(tmp_path)) == ("vocab_size", f"the tokenizer has {size} tokens: write vocab_size: {size}")
    assert problem(vocab_size=256) == ("vocab_size", "the tokenizer has 257 tokens: write vocab_size: 257")
    assert problem(tokenizer=str(tmp_path), vocab_size=size, boundary="<doc>")[0] == "boundary"
    assert problem(boundary="a")[0] == "boundary"
    (tmp_path / "broken.json").write_text(json.dumps({"model": 3}))
    assert problem(tokenizer=str(tmp_path / "broken.json"))[1].startswith("broken.json cannot be read")
    (tmp_path / "empty").mkdir()
    assert "no tokenizer.json in the folder empty" in problem(tokenizer=str(tmp_path / "empty"))[1]
    without = saved_tokenizer(tmp_path / "without.json", boundary=None)
    message = problem(tokenizer=str(tmp_path / "without.json"), vocab_size=without)[1]
    assert "no token <|endoftext|>, </s>, <eos>, [SEP], <s>" in message


@pytest.fixture(scope="module")
def tokenizers_by_name(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    size = saved_tokenizer(path)
    return {"bytes": ByteTokenizer(), "file": tokenizer_of(configured(tokenizer=str(path), vocab_size=size))}


@pytest.mark.parametrize("name", ["bytes", "file"])
@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=20), data=st.data())
def test_the_texts_of_tokens_put_together_are_the_text(name, text, data, tokenizers_by_name) -> None:
    tokenizer = tokenizers_by_name[name]
    count = len(tokenizer.encode([text])[0])
    cut = data.draw(st.integers(0, count))
    assert tokenizer.text_of(text, 0, cut) + tokenizer.text_of(text, cut, count) == (text.encode() if count else b"")
    place = data.draw(st.integers(0, len(text)))
    behind = tokenizer.token_behind(text, place)
    assert len(tokenizer.text_of(text, 0, behind)) >= len(text[:place].encode()) or behind == count


def sentences(pages: list[str]) -> list[str]:
    return [line for page in pages for line in page.splitlines()]


def facts(pages: list[str]) -> list[tuple[str, str, str]]:
    """Relation, subject and object: the words before "of", behind it and at the end."""
    found = []
    for words in (sentence.removesuffix(".").split() for sentence in sentences(pages)):
        place = len(words) - 1 - words[::-1].index("of")
        found.append((words[place - 1], words[place + 1], words[-1]))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_facts_are_told_once_in_training_and_repeated_in_other_words(seed: int) -> None:
    targets = dict(zip(SPLITS, (20000, 3000, 2000, 2000), strict=True))
    made = facts_corpus(targets, seed, lambda text: 1 + len(text))
    told = facts(made["train"])
    assert len({subject for _, subject, _ in told}) == len(told) > 300
    repeated = {split: set(facts(made[split])) for split in REPEATING}
    assert all(found <= set(told) for found in repeated.values())
    assert sum(map(len, repeated.values())) == len(set.union(*repeated.values()))
    assert not set(sentences(made["train"])) & {line for split in REPEATING for line in sentences(made[split])}
    assert all(sum(1 + len(page) for page in made[split]) > targets[split] for split in SPLITS)


def test_objects_of_facts_are_hard_to_guess() -> None:
    made = facts_corpus(dict(zip(SPLITS, (100000, 10, 10, 10), strict=True)), 0, lambda text: 1 + len(text))
    _, counts = np.unique([place for _, _, place in facts(made["train"])], return_counts=True)
    shares = counts / counts.sum()
    assert len(set(OBJECTS)) == len(OBJECTS) >= 50
    assert -(shares * np.log(shares)).sum() > 0.95 * np.log(len(OBJECTS))


def test_repeated_facts_were_told_within_the_tokens_of_training(tmp_path: Path) -> None:
    task = prepared(tmp_path, train_tokens=1111)
    trained = b"".join(text_of(task, "train")).decode()
    for split in REPEATING:
        for line in b"".join(text_of(task, split)).decode().splitlines()[:-1]:
            assert line[line.rindex(" of ") :] in trained


def test_facts_are_decided_by_their_seed() -> None:
    one, same, other = (corpus_tokens(configured(seed=seed))["test"].tokens.tolist() for seed in (0, 0, 1))
    assert one == same != other


def test_facts_say_when_they_cannot_be_repeated_often_enough() -> None:
    field, message = problem(val_tokens=50000)
    assert field == "val_tokens"
    assert message.startswith("train_tokens hold 20 facts, too few to repeat them in other words on the 50,190 tokens")


def test_the_standard_library_documents_itself(tmp_path: Path) -> None:
    task = prepared(tmp_path, corpus="stdlib")
    assert all(text_of(task, split) for split in SPLITS)
    library = StandardLibrary()
    assert 500 < len(library) < 5000
    text = next(text for text in library if text.startswith("Bisection algorithms."))
    assert "Insert item x in list a" in text
