"""``adaptive_knn_lm``: its counts and its rules; what it computes is tested in ``tests/retrieval``."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.registry import architectures

ADAPTIVE, KNN_LM = architectures()["adaptive_knn_lm"], architectures()["knn_lm"]
TASK = SimpleNamespace(vocab_size=257, input_seq_len=32, train_tokens=5000)


@pytest.mark.parametrize(
    ("values", "buffers"), [({}, 127), ({"n_buckets": 1}, 1), ({"mode": "exponential"}, 2), ({"mode": "fixed"}, 1)]
)
def test_it_is_knn_lm_and_what_is_fitted(values: dict, buffers: int) -> None:
    model, plain = ADAPTIVE.configuration.from_values(values), KNN_LM.configuration.from_values({})
    counts = ADAPTIVE.count(model, TASK).by_scope()
    with torch.device("meta"):
        assert counts == measure_counts(ADAPTIVE.build(model, TASK)).by_scope()
    expected = KNN_LM.count(plain, TASK).by_scope()
    assert counts == {**expected, "buffers": expected["buffers"] + buffers, "stored": expected["stored"] + buffers}
    assert counts["trainable"] == 0 and counts["external"] == 5000 * (64 + 1)


def test_counts_accept_columns() -> None:
    values = [{"mode": mode, "n_buckets": buckets} for mode in ("buckets", "exponential", "fixed") for buckets in (2, 9)]
    models = [ADAPTIVE.configuration.from_values(each) for each in values]
    columns = SimpleNamespace(**{name: np.array([getattr(model, name) for model in models]) for name in vars(models[0])})
    assert ADAPTIVE.count(columns, TASK).buffers.tolist() == [ADAPTIVE.count(model, TASK).buffers for model in models]


def test_an_exponential_needs_distances_that_begin_at_0() -> None:
    with pytest.raises(ConfigurationError, match="set metric: l2"):
        ADAPTIVE.configuration.from_values({"mode": "exponential", "metric": "ip"})
    assert ADAPTIVE.configuration.from_values({"mode": "buckets", "metric": "ip"})


def test_more_neighbours_than_entries_break_a_rule_with_its_cure() -> None:
    model = ADAPTIVE.configuration.from_values({"n_neighbors": 5001})
    broken = [rule.message for rule in ADAPTIVE.pair_rules if not rule.holds(model, TASK)]
    assert len(broken) == 1 and "lower n_neighbors" in broken[0]


def test_it_is_evaluated_and_not_trained_on_text_alone() -> None:
    assert ADAPTIVE.evaluation_only and ADAPTIVE.fits("language_modeling", "tokens") and not ADAPTIVE.fits("mqar", "tokens")
