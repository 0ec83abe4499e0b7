"""Training texts in one stream: nothing is lost, everything is scored once, and labels have the same tokens everywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from multitask_cases import CPU, configured, save_tokenizer

from trainables.configuration import ConfigurationError
from trainables.tasks._language.tokenizers import tokenizer_of
from trainables.tasks._multitask.data import encoded_data, read_examples
from trainables.tasks._multitask.datasets import DATASETS
from trainables.tasks._multitask.packing import PackedExamples, pack

BOUNDARY = 256


def test_texts_stand_between_boundaries_and_tokens_know_their_text() -> None:
    texts = [np.array([1, 2], np.int32), np.array([], np.int32), np.array([3], np.int32)]
    tokens, documents = pack(texts, BOUNDARY)
    assert tokens.tolist() == [256, 1, 2, 256, 256, 3, 256]
    assert documents.tolist() == [0, 0, 0, 1, 2, 2, 3]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20), length=st.integers(1, 30), batch_size=st.integers(1, 5))
def test_each_target_of_the_stream_is_scored_once_in_examples_of_one_length(sizes, length, batch_size) -> None:
    tokens, documents = pack([np.arange(size, dtype=np.int32) for size in sizes], BOUNDARY)
    packed = PackedExamples(tokens, documents, length, CPU)
    assert packed.length == min(length, len(tokens) - 1)
    scored = np.zeros(len(tokens), dtype=int)
    for batch in packed.batches(torch.arange(len(packed)), batch_size):
        assert batch.ids.shape[1] == packed.length
        places = batch.positions
        assert torch.equal(batch.ids, torch.from_numpy(tokens)[places].long())
        assert torch.equal(batch.targets, torch.from_numpy(tokens)[places + 1].long())
        assert torch.equal(batch.documents, torch.from_numpy(documents)[places].long())
        scored[(places[batch.scored] + 1).numpy()] += 1
    assert scored.tolist() == [0] + [1] * (len(tokens) - 1)


def test_batches_follow_the_order() -> None:
    tokens, documents = pack([np.arange(99, dtype=np.int32)], BOUNDARY)
    packed = PackedExamples(tokens, documents, 10, CPU)
    (batch,) = packed.batches(torch.tensor([9, 0, 4]), 8)
    assert batch.positions[:, 0].tolist() == [90, 0, 40] and batch.scored.all()


def test_training_texts_are_prompt_and_label_in_the_order_of_tasks_and_rows() -> None:
    configuration = configured(tasks=["cb", "boolq"])
    data = encoded_data(configuration)
    parts = bytes(token if token < 256 else 10 for token in data.tokens).decode().split("\n")[1:-1]
    examples = read_examples(configuration)
    assert list(examples) == ["boolq", "cb"]
    texts = [one.prompt.text + DATASETS[name].labels[one.label] for name in examples for one in examples[name].train]
    assert parts == texts and len(texts) == 24


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A tokeniser with merges that cross from words to punctuation."""
    texts = ["### Sentence: one two ### Class:true", "Choice:Choice1 Answer:false Relationship:entailment not_entailment"]
    path = save_tokenizer(tmp_path_factory.mktemp("tokenizer"), texts * 4)
    from tokenizers import Tokenizer

    return {"tokenizer": str(path), "vocab_size": Tokenizer.from_file(str(path)).get_vocab_size()}


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_the_tokens_of_labels_are_those_of_the_whole_text(kind: str, pieces: dict[str, object]) -> None:
    configuration = configured(**(pieces if kind == "file" else {}))
    tokenizer = tokenizer_of(configuration)
    data = encoded_data(configuration)
    for name, labels in data.validation.labels.items():
        example = data.examples[name].validation[0]
        for label, ids in zip(DATASETS[name].labels, labels, strict=True):
            prompt, whole = tokenizer.encode([example.prompt.text, example.prompt.text + label])
            assert [*prompt, *ids] == whole.tolist() and tokenizer.decode(ids) == label


@pytest.mark.parametrize("length", [165, 172, 180])
def test_prompts_of_evaluation_leave_room_for_every_label_and_for_what_is_generated(length: int) -> None:
    data = encoded_data(configured(input_seq_len=length, max_new_tokens=20))
    for row in data.validation.rows:
        longest = max(map(len, data.validation.labels[row.task]))
        assert row.prompt[0] == BOUNDARY and len(row.prompt) + max(longest, 20) <= length
    assert any(row.task == "race_high" for row in data.validation.rows)


def test_only_the_context_is_cut_from_what_is_evaluated() -> None:
    whole, cut = (encoded_data(configured(input_seq_len=length, tasks=["race_high"])) for length in (180, 142))
    for long, short in zip(whole.validation.rows, cut.validation.rows, strict=True):
        texts = [bytes(row.prompt[1:].astype(np.uint8)).decode() for row in (long, short)]
        contexts, rests = zip(*(text.split("Context:")[1].split(" ### Question:") for text in texts), strict=True)
        assert rests[0] == rests[1] and len(texts[1]) == 135
        assert contexts[0].startswith(contexts[1]) and len(contexts[1]) < len(contexts[0])
    assert np.array_equal(whole.tokens, cut.tokens), "training texts are packed whole"


def test_a_length_that_the_question_alone_exceeds_is_refused_with_what_it_takes() -> None:
    with pytest.raises(ConfigurationError) as caught:
        encoded_data(configured(input_seq_len=100))
    ((field, message),) = caught.value.problems
    assert field == "input_seq_len" and "boolq: the prompt of row 1 has 113 tokens without its context" in message
    assert "raise input_seq_len to at least 120" in message, "a boundary, and 6 tokens that are generated"


def test_a_fraction_takes_the_first_rows_and_from_99_hundredths_on_all() -> None:
    sizes = {
        fraction: encoded_data(configured(tasks=["cb"], train_fraction=fraction)).documents[-1] for fraction in (0.01, 0.5, 0.99)
    }
    assert sizes == {0.01: 1, 0.5: 6, 0.99: 12}


def test_data_are_found_again_by_what_decides_them(tmp_path: Path) -> None:
    from trainables.tasks.multitask_classification import MultitaskClassificationTask

    values = MultitaskClassificationTask.data_values
    assert values(configured(tasks=["cb", "boolq"])) == values(configured(tasks=["boolq", "cb"], target_acc_rank=0.5))
    assert values(configured(tasks=["cb"])) != values(configured(tasks=["cb"], seed=1))
