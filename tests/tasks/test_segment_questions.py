"""Questions after facts: where fact and question stand, and who can answer."""

import re
from pathlib import Path

import numpy as np
import pytest
from segment_texts import ASKING, CPU, Copying, CopyingFromMemory, Written, configured, prepared

from trainables.configuration import ConfigurationError
from trainables.pretrained.implicit_memory.configuration import MemoGptConfiguration
from trainables.tasks._language.corpora import told_pages
from trainables.tasks._language.facts import OBJECTS, TEMPLATES
from trainables.tasks._language.tokenizers import ByteTokenizer, tokenizer_of
from trainables.tasks._segments.questions import Questions, make_questions
from trainables.tasks.segment_lm import SegmentLmTask

FACT = re.compile(r"(?P<relation>\w+) of (?P<subject>\w+) is(?: (?P<object>\w+))?")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SegmentLmTask:
    return prepared(tmp_path_factory.mktemp("data"), **ASKING)


@pytest.fixture(scope="module")
def questions(task: SegmentLmTask) -> Questions:
    return Questions.read(task.folder)


def documents(ids: np.ndarray) -> list[str]:
    assert ids[0] == 256
    return [bytes(part[1:].astype(np.uint8)).decode() for part in np.split(ids, np.flatnonzero(ids == 256))[1:]]


def written(questions: Questions, question: int, candidate: int) -> np.ndarray:
    """The tokens without those that fill the crop behind the candidate."""
    return questions.ids[question, candidate, : np.flatnonzero(questions.scored[question, candidate])[-1] + 2]


def test_facts_are_told_at_the_beginning_and_one_is_asked_at_the_end_in_other_words(questions: Questions) -> None:
    for question, answer in enumerate(questions.answers):
        told, asked = set(), set()
        for candidate in range(4):
            first, *others, last = documents(written(questions, question, candidate))
            facts = {match["subject"]: match.groupdict() for match in FACT.finditer(first)}
            said = FACT.search(last)
            assert said is not None and len(facts) == 4 and len({fact["object"] for fact in facts.values()}) == 4
            right = facts[said["subject"]]
            assert said["relation"] == right["relation"] and said["object"] in OBJECTS
            assert (said["object"] == right["object"]) == (candidate == answer)
            assert last + "." not in first
            between = " ".join(others)
            assert len(others) >= 1 and said["subject"] not in between
            assert not any(fact["object"] in between for fact in facts.values())
            told |= {fact["object"] for fact in facts.values()}
            asked.add(said["object"])
        assert told == asked


def test_questions_fill_a_crop_and_score_the_candidate_alone(questions: Questions) -> None:
    assert questions.ids.shape == (12, 4, 481) and questions.scored.shape == (12, 4, 480)
    for ids, scored in zip(questions.ids, questions.scored, strict=True):
        begin = {int(np.flatnonzero(row)[0]) for row in scored}
        assert len(begin) == 1 and scored[:, -1].any()
        (first,) = begin
        assert (ids[:, : first + 1] == ids[0, : first + 1]).all()
        assert len(set(ids[:, first + 1])) > 1
        for row, marks in zip(ids, scored, strict=True):
            candidate = bytes(row[1:][marks].astype(np.uint8)).decode()
            assert any(name.endswith(candidate) for name in OBJECTS)


def test_the_facts_lie_outside_every_window_that_reads_a_candidate(questions: Questions) -> None:
    window = MemoGptConfiguration()
    for ids, scored in zip(questions.ids, questions.scored, strict=True):
        told = int(np.flatnonzero(ids[0] == 256)[1])
        asked = int(np.flatnonzero(scored[0])[0])
        assert asked - told > window.input_block + window.memory_block


def test_what_is_asked_about_was_never_trained_on(task: SegmentLmTask, questions: Questions) -> None:
    trained = " ".join(told_pages(task.configuration, ByteTokenizer()))
    known = {match["subject"] for match in FACT.finditer(trained)}
    subjects = set()
    for question in range(12):
        facts = [
            match["subject"]
            for text in documents(written(questions, question, 0))
            for match in FACT.finditer(text)
            if not text.endswith(match[0])
        ]
        subjects.update(facts)
    assert len(subjects) > 60 and not subjects & known


def test_right_answers_stand_at_every_place() -> None:
    made = make_questions([], ByteTokenizer(), length=480, count=80, candidates=4, seed=0)
    assert set(made.answers.tolist()) == {0, 1, 2, 3} and np.bincount(made.answers).max() < 40


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_who_reads_everything_answers_and_who_has_forgotten_guesses(task: SegmentLmTask, batch_size: int) -> None:
    assert task.evaluate_finally(Copying(10_000), batch_size) == {"recall/accuracy": 1.0}
    forgotten = task.evaluate_finally(Copying(60), batch_size)["recall/accuracy"]
    assert forgotten < 0.8


def test_a_memory_is_compared_to_none_and_to_full_attention(tmp_path: Path) -> None:
    measured = prepared(tmp_path, **{**ASKING, "eval_crops": 2}).evaluate_finally(CopyingFromMemory(), 8)
    assert measured["recall/accuracy"] == measured["recall/accuracy_full_attention"] == 1.0
    assert measured["recall/accuracy_memory_cleared"] < 0.8


def test_questions_are_decided_by_their_seed() -> None:
    made = [make_questions([], ByteTokenizer(), length=480, count=3, candidates=2, seed=seed).ids for seed in (0, 0, 1)]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_a_crop_without_room_says_how_long_it_must_be() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SegmentLmTask.inspect(configured(n_questions=8))
    ((field, message),) = caught.value.problems
    assert field == "val_length" and message.endswith(": raise val_length, or write n_questions: 0")
    needed = int(message.partition(":")[0].split()[-1])
    make_questions([], ByteTokenizer(), length=needed, count=8, candidates=4, seed=0)


def test_other_corpora_have_no_questions(tmp_path: Path) -> None:
    task = prepared(tmp_path, corpus="stdlib", n_questions=32)
    assert task.evaluate_finally(Written(), 4) == {}
    assert not list(tmp_path.glob("question*"))


def test_questions_are_asked_in_the_tokens_of_a_file(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator([*TEMPLATES, *OBJECTS], trainer)
    library.save(str(tmp_path / "tokenizer.json"))
    values = {"tokenizer": str(tmp_path), "vocab_size": library.get_vocab_size(), "train_tokens": 900, "val_tokens": 300}
    configuration = configured(**{**ASKING, **values, "val_length": 240, "n_segments": 10})
    tokenizer = tokenizer_of(configuration)
    pages = told_pages(configuration, tokenizer)
    made = make_questions(pages, tokenizer, length=240, count=4, candidates=3, seed=0)
    for question, answer in enumerate(made.answers):
        tokens = written(made, question, int(answer))
        ends = np.flatnonzero(tokens == tokenizer.boundary)
        first, last = library.decode(tokens[: ends[1]].tolist()), library.decode(tokens[ends[-1] :].tolist())
        said = FACT.search(last)
        assert said is not None and said[0] in first
    assert made.accuracy(Copying(10_000).target_log_probabilities, 6, CPU) == 1.0
