"""``knn_adapter``: its golden size, its rules and what it keeps; what it computes is tested in ``tests/retrieval``."""

from types import SimpleNamespace

import pytest
import torch

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.registry import architectures
from trainables.retrieval.heads.adapter import Adapter, adapted_log_probability
from trainables.retrieval.heads.adapter_features import adapter_features

ADAPTER, KNN_LM = architectures()["knn_adapter"], architectures()["knn_lm"]
TASK = SimpleNamespace(vocab_size=257, input_seq_len=32, train_tokens=5000)


def test_the_default_trains_10209_parameters_around_a_frozen_base() -> None:
    model, plain = ADAPTER.configuration.from_values({}), KNN_LM.configuration.from_values({})
    counts, base = ADAPTER.count(model, TASK), KNN_LM.count(plain, TASK)
    assert counts.trainable == 10_209 and counts.block == base.block + 10_209 and counts.frozen == base.total
    assert counts.external == 5000 * (64 + 1)


@pytest.mark.parametrize("values", [{}, {"n_neighbors": 1, "hidden": 1}, {"n_neighbors": 8, "hidden": 32, "dropout": 0.1}])
def test_counts_are_those_of_the_built_module(values: dict) -> None:
    model = ADAPTER.configuration.from_values(values)
    with torch.device("meta"):
        module = ADAPTER.build(model, TASK)
    assert ADAPTER.count(model, TASK).by_scope() == measure_counts(module).by_scope()
    assert module.fits_on_validation and not ADAPTER.evaluation_only


def test_ratios_need_distances() -> None:
    with pytest.raises(ConfigurationError, match="set metric: l2"):
        ADAPTER.configuration.from_values({"metric": "ip"})


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_first_share_is_neither_0_nor_1(weight: float) -> None:
    with pytest.raises(ConfigurationError, match="initial_weight"):
        ADAPTER.configuration.from_values({"initial_weight": weight})


@pytest.mark.parametrize("values", [{}, {"dropout": 0.1}, {"n_neighbors": 8, "hidden": 32}])
def test_activation_elements_are_what_autograd_keeps(values: dict) -> None:
    model = ADAPTER.configuration.from_values(values)
    k, count = model.n_neighbors, 4 * TASK.input_seq_len
    adapter = Adapter(k, model.hidden, model.dropout, 0.25)
    distances, tokens = torch.rand(count, k).sort(-1).values, torch.randint(9, (count, k))
    log_base, targets = -torch.rand(count), torch.randint(9, (count,))
    features = adapter_features(distances, tokens, log_base, torch.rand(count), targets, 1.0)
    weights = {parameter.untyped_storage().data_ptr() for parameter in adapter.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logit, corrections = adapter(features)
        adapted_log_probability(log_base, corrections - distances, tokens, targets, logit).mean()
    found = sum(storage.nbytes() for storage in kept.values()) / 4 / 4
    assert ADAPTER.activation_elements(model, TASK) == found
