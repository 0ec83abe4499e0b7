"""Ranking and generation against brute force, and scores against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from multitask_cases import CPU, Oracle, Reader
from torch import Tensor, nn

from trainables.language import TokenBatch
from trainables.pretrained.generation import is_generated_by_library
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.tasks._multitask.generation import generate, generate_step_by_step
from trainables.tasks._multitask.ranking import Candidates
from trainables.tasks._multitask.scores import accuracy, answer_in, interval, is_complete, macro_f1, majority, micro_f1
from trainables.tasks._multitask.validation import Row, ValidationRows

BOUNDARY = 256
SIZES = {"vocab_size": 257, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
BACKBONES = {
    "llama": {"model_type": "llama", "initializer_range": 0.3, "max_position_embeddings": 64, **SIZES},
    "gpt2": {  # its positions are learned, so none is read beyond what a row needs
        "model_type": "gpt2",
        "initializer_range": 0.3,
        "vocab_size": 257,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 40,
    },
}


def tokens(text: str) -> list[int]:
    return list(text.encode())


def row(task: str, prompt: str, label: int) -> Row:
    return Row(task, np.array([BOUNDARY, *tokens(prompt)], np.int32), label)


ROWS = ValidationRows(
    [row("boolq", "is it? ", 1), row("boolq", "a much longer question, is it? ", 0), row("cb", "then ", 2), row("cb", "x", 0)],
    {"boolq": [tokens("false"), tokens("true")], "cb": [tokens("en"), tokens("entail"), tokens("n")]},
)


def backbone(kind: str) -> PretrainedLanguageModel:
    torch.manual_seed(3)
    return PretrainedLanguageModel(BACKBONES[kind])


def brute_force(module: nn.Module, place: int) -> list[float]:
    """The probability of each label, one token after another, one sequence at a time."""
    of_row = ROWS.rows[place]
    sums = []
    for label in ROWS.labels[of_row.task]:
        so_far, total = of_row.prompt.tolist(), 0.0
        for token in label:
            logits = module.output_head(module.hidden_states(torch.tensor([so_far])))[0, -1]
            total += logits.log_softmax(0)[token].item()
            so_far.append(token)
        sums.append(total)
    return sums


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("kind", ["reader", *BACKBONES])
def test_a_label_is_worth_the_sum_of_its_tokens_log_probabilities(kind: str, batch_size: int) -> None:
    module = Reader() if kind == "reader" else backbone(kind)
    with torch.no_grad():
        ranking = Candidates(ROWS).rank(module, batch_size, CPU)
        expected = [brute_force(module, place) for place in range(4)]
    for found, wanted in zip(ranking.scores, expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-3)
    assert ranking.predicted == [int(np.argmax(wanted)) for wanted in expected]
    assert len({tuple(scores) for scores in ranking.scores}) == 4


def test_modules_with_probabilities_of_their_own_are_asked_for_them() -> None:
    class Written(nn.Module):
        def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
            assert batch.ids.shape == batch.targets.shape == batch.documents.shape == batch.scored.shape
            return -(batch.targets == ord("e")).float()

    ranking = Candidates(ROWS).rank(Written(), 2, CPU)
    assert [scores.tolist() for scores in ranking.scores] == [[-1, -1], [-1, -1], [-1, -1, 0], [-1, -1, 0]]
    assert ranking.predicted == [0, 0, 2, 2]


def test_the_positions_of_a_ranking_are_those_of_all_prompts_with_all_labels() -> None:
    lengths = [1 + len("is it? "), 1 + len("a much longer question, is it? "), 1 + len("then "), 2]
    assert Candidates(ROWS).tokens == sum(2 * n + 5 + 4 - 2 for n in lengths[:2]) + sum(
        3 * n + 2 + 6 + 1 - 3 for n in lengths[2:]
    )


def greedy(module: nn.Module, prompt: list[int], new_tokens: int) -> list[int]:
    so_far: list[int] = []
    while len(so_far) < new_tokens:
        logits = module.output_head(module.hidden_states(torch.tensor([prompt + so_far])))[0, -1]
        if int(logits.argmax()) == BOUNDARY:
            break
        so_far.append(int(logits.argmax()))
    return so_far


PROMPTS = [np.array([BOUNDARY, *tokens(text)], np.int32) for text in ("a", "to be or not", "###", "many words", "b")]


def never(found: list[int]) -> bool:
    return False


@pytest.mark.parametrize("batch_size", [2, 9])
@pytest.mark.parametrize("kind", ["reader", *BACKBONES])
def test_the_most_probable_tokens_are_generated(kind: str, batch_size: int) -> None:
    module = Reader() if kind == "reader" else backbone(kind)
    assert is_generated_by_library(module) == (kind != "reader")
    with torch.no_grad():
        expected = [greedy(module, prompt.tolist(), 8) for prompt in PROMPTS]
        assert generate(module, PROMPTS, 8, never, batch_size, CPU) == expected
    assert len({tuple(answer) for answer in expected}) > 2


@pytest.mark.parametrize("kind", BACKBONES)
def test_the_library_generates_what_reading_all_again_does(kind: str) -> None:
    module = backbone(kind)
    rows = [torch.from_numpy(prompt).long() for prompt in PROMPTS]
    with torch.inference_mode():
        assert generate(module, PROMPTS, 11, never, 5, CPU) == generate_step_by_step(module, rows, 11, BOUNDARY, never)


def test_a_module_that_computes_otherwise_is_not_left_to_the_library() -> None:
    class Otherwise(PretrainedLanguageModel):
        def hidden_states(self, ids: Tensor) -> Tensor:
            return -super().hidden_states(ids)

    torch.manual_seed(3)
    module = Otherwise(BACKBONES["llama"])
    assert not is_generated_by_library(module)
    with torch.no_grad():
        assert generate(module, PROMPTS, 5, never, 5, CPU) == [greedy(module, prompt.tolist(), 5) for prompt in PROMPTS]


def test_an_answer_ends_at_the_boundary_or_once_it_is_complete() -> None:
    module = Oracle([[BOUNDARY, *tokens("a"), *tokens("true"), BOUNDARY], [BOUNDARY, *tokens("b"), *tokens("no\nmore")]])
    prompts = [PROMPTS[0], PROMPTS[4]]
    found = generate(module, prompts, 7, lambda answer: is_complete(bytes(answer).decode()), 2, CPU)
    assert [bytes(answer) for answer in found] == [b"true", b"no\n"]


LABELS = ("entailment", "not", "not_entailment", "A")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("not_entailment", 2),
        ("not_entail", 1),
        (" \nentailment.", 0),
        ("A\nnot", 3),
        ("A### Premise", 3),
        ("not###_entailment", 1),
        ("an A", None),
        ("", None),
        ("### A", None),
        ("Not", None),
    ],
)
def test_an_answer_is_the_longest_label_with_which_its_first_line_begins(text: str, label: int | None) -> None:
    assert answer_in(text, LABELS) == label
    for end in range(len(text) + 1):
        if is_complete(text[:end]):
            assert answer_in(text[:end], LABELS) == label, "nothing behind changes it"


def test_f1_is_that_of_the_textbook() -> None:
    true, said = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    # Per label 2 * right / (true + said): 2*2/(3+2), 2*1/(2+2), 2*1/(1+2).
    assert macro_f1(true, said) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert micro_f1(true, said) == accuracy(true, said) == pytest.approx(4 / 6)
    assert macro_f1([0, 0], [0, 1]) == pytest.approx((2 / 3 + 0) / 2), "a label that is only said counts"
    assert accuracy([0, 1], [None, 1]) == 0.5


def test_the_majority_is_the_share_of_the_most_frequent_label() -> None:
    assert majority([3, 1, 3, 0]) == 0.5 and majority([2]) == 1.0


def test_the_interval_is_that_of_a_mean_of_independent_shares() -> None:
    assert interval([0.5], [100]) == pytest.approx(1.96 * 0.05)
    assert interval([0.5, 0.2], [100, 16]) == pytest.approx(1.96 * math.sqrt(0.0025 + 0.01) / 2)
    assert interval([1.0, 0.0], [10, 10]) == 0.0
