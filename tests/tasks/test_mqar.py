"""The MQAR task: a plain reference in the paper's own order of draws, and the vectorised generator that must follow its laws."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trainables.configuration import ConfigurationError
from trainables.prepared import prepare_once
from trainables.tasks._mqar_generator import RecallExamples, RecallLaw
from trainables.tasks.mqar import MqarConfiguration, MqarTask, derived_seeds

CPU = torch.device("cpu")


def reference(count: int, vocab_size: int, length: int, pairs: int, seed: int, power_a: float = 0.01) -> RecallExamples:
    """One row after another from NumPy's legacy generator, in the order of HazyResearch/zoology."""
    draws = np.random.RandomState(seed)
    half, space = vocab_size // 2, (length - 2 * pairs) // 2
    keys = np.stack([draws.choice(np.arange(1, half), pairs, replace=False) for _ in range(count)])
    values = np.stack([draws.choice(np.arange(half, vocab_size), pairs, replace=False) for _ in range(count)])
    weights = power_a * np.arange(1, space + 1) ** (power_a - 1)
    slots = np.stack([draws.choice(space, pairs, replace=False, p=weights / weights.sum()) for _ in range(count)])
    inputs = np.zeros((count, length + 1), dtype=np.int32)
    for row in range(count):
        inputs[row, : 2 * pairs] = np.stack([keys[row], values[row]], axis=1).ravel()
        inputs[row, 2 * pairs + 2 * slots[row]] = keys[row]
    return RecallExamples(inputs[:, :length], 2 * pairs + 2 * slots.astype(np.int32), values.astype(np.int32))


def generated(count: int, vocab_size: int, length: int, pairs: int, seed: int, power_a: float = 0.01) -> RecallExamples:
    chunks = list(RecallLaw(vocab_size, length, pairs, power_a, False).generate(count, seed))
    return RecallExamples(*(np.concatenate([getattr(chunk, part) for chunk in chunks]) for part in RecallExamples.__slots__))


def answers_by_lookup(inputs: np.ndarray, pairs: int) -> list[dict[int, int]]:
    return [dict(zip(row[0 : 2 * pairs : 2], row[1 : 2 * pairs : 2], strict=True)) for row in inputs]


def test_the_reference_gives_the_golden_rows() -> None:
    examples = reference(2, vocab_size=32, length=16, pairs=2, seed=0)
    assert examples.inputs[0].tolist() == [2, 20, 7, 28, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 7, 0]
    assert examples.inputs[1].tolist() == [3, 29, 5, 22, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
    labels = examples.labels()
    assert {(row, column): labels[row, column] for row, column in np.argwhere(labels != -100).tolist()} == {
        (0, 8): 20,
        (0, 14): 28,
        (1, 4): 22,
        (1, 8): 29,
    }


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    pairs = draw(st.integers(1, 9))
    length = 4 * pairs + 2 * draw(st.integers(0, 20))
    return draw(st.integers(length + 1, length + 60)), length, pairs


@pytest.mark.parametrize("source", [reference, generated])
@settings(deadline=None, max_examples=40)
@given(shape=shapes(), seed=st.integers(0, 2**32 - 1))
def test_every_example_is_an_associative_recall(source, shape, seed) -> None:
    vocab_size, length, pairs = shape
    examples = source(7, vocab_size, length, pairs, seed)
    labels, half = examples.labels(), vocab_size // 2
    assert examples.inputs.shape == labels.shape == (7, length)
    for row, table in enumerate(answers_by_lookup(examples.inputs, pairs)):
        asked = np.flatnonzero(labels[row] != -100)
        assert len(table) == pairs and len(set(table.values())) == pairs
        assert all(1 <= key < half <= value < vocab_size for key, value in table.items())
        assert (asked >= 2 * pairs).all() and (asked % 2 == 0).all()
        assert sorted(examples.inputs[row, asked]) == sorted(table)
        assert [table[key] for key in examples.inputs[row, asked]] == labels[row, asked].tolist()
        blanks = np.setdiff1d(np.arange(2 * pairs, length), asked)
        assert not examples.inputs[row, blanks].any()


def test_with_as_many_pairs_as_slots_every_even_position_asks() -> None:
    labels = generated(50, vocab_size=2048, length=128, pairs=32, seed=3).labels()
    assert np.array_equal(labels != -100, np.tile(np.isin(np.arange(128), np.arange(64, 128, 2)), (50, 1)))


def slot_table(examples: RecallExamples, pairs: int, space: int) -> np.ndarray:
    """(pairs, space) counts of how often key j is asked in slot s."""
    slots = (examples.positions - 2 * pairs) // 2
    return np.stack([np.bincount(slots[:, j], minlength=space) for j in range(pairs)])


@pytest.mark.parametrize("power_a", [0.01, 0.5, 1.0])
def test_the_slot_of_each_key_has_the_law_of_the_reference(power_a: float) -> None:
    count, vocab_size, length, pairs = 8000, 64, 28, 4
    ours, theirs = (
        slot_table(source(count, vocab_size, length, pairs, 11, power_a), pairs, 10).astype(float)
        for source in (generated, reference)
    )
    statistic = ((ours - theirs) ** 2 / np.maximum(ours + theirs, 1)).sum(axis=1)
    assert (statistic < 33.7).all(), "chi-squared with 9 degrees of freedom exceeds 33.7 with probability 0.0001"


def test_the_first_slot_follows_the_power_law_exactly() -> None:
    law = RecallLaw(64, 28, 4, 0.3, False)
    first = (generated(60000, 64, 28, 4, seed=5, power_a=0.3).positions[:, 0] - 8) // 2
    expected = law.slot_probabilities() * 60000
    weights = np.arange(1, 11) ** -0.7
    np.testing.assert_allclose(law.slot_probabilities(), weights / weights.sum())
    assert ((np.bincount(first, minlength=10) - expected) ** 2 / expected).sum() < 33.7


def test_with_room_the_first_quarter_holds_half_the_queries() -> None:
    positions = generated(4000, vocab_size=2048, length=256, pairs=32, seed=1).positions
    assert np.mean(positions - 64 < 48) == pytest.approx(0.51, abs=0.01)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_each_key_and_value_is_equally_likely_in_each_place(column: int) -> None:
    examples = generated(36000, vocab_size=20, length=12, pairs=3, seed=9)
    for offset, low, high in ((0, 1, 10), (1, 10, 20)):
        counts = np.bincount(examples.inputs[:, 2 * column + offset], minlength=20)[low:high]
        expected = 36000 / (high - low)
        assert ((counts - expected) ** 2 / expected).sum() < 33.7


def test_random_non_queries_fill_the_blanks_alone() -> None:
    (plain,) = RecallLaw(64, 28, 4, 0.01, False).generate(500, 2)
    (filled,) = RecallLaw(64, 28, 4, 0.01, True).generate(500, 2)
    assert np.array_equal(np.where(plain.inputs != 0, filled.inputs, 0), plain.inputs)
    noise = filled.inputs[plain.inputs == 0]
    assert noise.min() == 0 and noise.max() == 63


def test_the_seeds_configuration_generates_in_seconds() -> None:
    started = time.process_time()
    assert sum(len(chunk.inputs) for chunk in MqarConfiguration().law().generate(40000, 0)) == 40000
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        ({"input_seq_len": 127, "num_kv_pairs": 4}, "add one position"),
        ({"num_kv_pairs": 33}, "lower num_kv_pairs"),
        ({"vocab_size": 128}, "raise vocab_size"),
    ],
)
def test_a_broken_rule_names_its_cure(values: dict[str, int], cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        MqarConfiguration.from_values(values)


def test_rules_hold_element_by_element_for_arrays() -> None:
    columns = {"input_seq_len": np.array([128, 127, 128, 64]), "num_kv_pairs": np.array([32, 4, 33, 4])}
    columns["vocab_size"] = np.array([2048, 2048, 2048, 64])
    candidates = type("Candidates", (), columns)
    held = np.stack([np.asarray(rule.holds(candidates)) for rule in MqarConfiguration.rules])
    assert held.tolist() == [[True, False, True, True], [True, True, False, True], [True, True, True, False]]


SMALL = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 100, "val_examples": 37}


class LookupModule(nn.Module):
    """Solves the task by its definition: the state of a position is the one-hot code of the value shown with its key."""

    def __init__(self, vocab_size: int, pairs: int, wrong_below: int = 0) -> None:
        super().__init__()
        self.vocab_size, self.pairs, self.wrong_below = vocab_size, pairs, wrong_below
        self.output_head = nn.Identity()

    def hidden_states(self, ids: Tensor) -> Tensor:
        answers = torch.zeros_like(ids)
        for row, table in enumerate(answers_by_lookup(ids.numpy(), self.pairs)):
            answers[row] = torch.tensor([0 if key < self.wrong_below else table.get(key, 0) for key in ids[row].tolist()])
        return 100.0 * nn.functional.one_hot(answers, self.vocab_size)


@pytest.fixture
def task(tmp_path: Path) -> MqarTask:
    configuration = MqarConfiguration.from_values(SMALL)
    return MqarTask(configuration, prepared(configuration, tmp_path), CPU)


def prepared(configuration: MqarConfiguration, root: Path) -> Path:
    return prepare_once(root, "mqar", configuration.to_values(), lambda folder: MqarTask.prepare(configuration, folder))


@pytest.mark.parametrize("batch_size", [1, 10, 1000])
def test_a_lookup_table_scores_one(task: MqarTask, batch_size: int) -> None:
    measured = task.evaluate(LookupModule(64, 4), batch_size)
    assert measured == {"val/loss": pytest.approx(0.0, abs=1e-6), "val/accuracy": 1.0}
    assert set(measured) == set(task.metrics)
    assert task.target.reached(measured["val/accuracy"]) and not task.target.reached(0.98)


def test_accuracy_is_the_share_of_asked_positions(task: MqarTask, tmp_path: Path) -> None:
    (folder,) = tmp_path.glob("mqar-*")
    positions, inputs = np.load(folder / "val_positions.npy"), np.load(folder / "val_inputs.npy")
    keys = np.take_along_axis(inputs, positions, axis=1)
    assert task.evaluate(LookupModule(64, 4, wrong_below=16), 10)["val/accuracy"] == np.mean(keys >= 16)


def test_an_untrained_head_has_the_loss_of_a_uniform_guess(task: MqarTask) -> None:
    module = LookupModule(64, 4)
    module.output_head = nn.Linear(64, 64, bias=False)
    nn.init.zeros_(module.output_head.weight)
    assert task.evaluate(module, 8)["val/loss"] == pytest.approx(np.log(64))
    (batch,) = task.train_batches(100, torch.arange(100))
    assert task.loss(module, batch).item() == pytest.approx(np.log(64))


def test_batches_follow_the_order_and_point_at_the_asked_positions(task: MqarTask) -> None:
    order = torch.randperm(100)
    batches = list(task.train_batches(32, order))
    assert [len(batch.inputs) for batch in batches] == [32, 32, 32, 4]
    inputs = torch.cat([batch.inputs for batch in batches])
    (whole,) = task.train_batches(100, torch.arange(100))
    assert torch.equal(inputs, whole.inputs[order])
    for batch in batches:
        keys = batch.inputs.flatten()[batch.asked].view(-1, 4)
        assert torch.equal(keys, batch.inputs[:, 0:8:2]) and torch.equal(batch.answers.view(-1, 4), batch.inputs[:, 1:8:2])


def test_preparing_is_deterministic_and_the_splits_differ(tmp_path: Path) -> None:
    configuration = MqarConfiguration.from_values({**SMALL, "val_examples": 100})
    first, second = prepared(configuration, tmp_path / "a"), prepared(configuration, tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 7 and all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert not np.array_equal(np.load(first / "train_inputs.npy"), np.load(first / "val_inputs.npy"))
    other = prepared(MqarConfiguration.from_values({**SMALL, "seed": 1}), tmp_path / "a")
    assert not np.array_equal(np.load(first / "train_inputs.npy"), np.load(other / "train_inputs.npy"))


@given(seed=st.integers(0, 2**40))
def test_training_and_validation_seeds_never_meet(seed: int) -> None:
    train, validation = derived_seeds(seed)
    assert 0 <= train < 2**31 <= validation < 2**32
