"""``memorizing_transformer``: a ``gpt`` in segments, one layer of which reads what came before its segment."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import configurations, over_configurations, recall_task
from torch import Tensor, nn
from torch.nn import functional

from trainables.configuration import Configuration, ConfigurationError
from trainables.counts import measure_counts
from trainables.language import LanguageModule, TokenBatch
from trainables.registry import architectures
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

FOUND = architectures()["memorizing_transformer"]
WINDOW, CLOSED, OPEN = 4, -1e9, 1e9
SMALL = {"dim": 16, "dk": 8, "dv": 6, "n_layers": 2, "init_std": 0.3, "n_neighbors": 3, "memory_size": 6}
over_options = over_configurations(max_examples=25)


def text_task(window: int = WINDOW) -> SimpleNamespace:
    return SimpleNamespace(vocab_size=23, input_seq_len=window, segments=3)


def build(
    model: Configuration | None = None, *, name: str = "memorizing_transformer", seed: int = 0, **values: object
) -> nn.Module:
    architecture = architectures()[name]
    torch.manual_seed(seed)
    known = architecture.configuration.hyperparameters()
    given = {field: value for field, value in {**SMALL, **values}.items() if field in known}
    return architecture.build(model or architecture.configuration.from_values(given), text_task()).double()


def drawn(data: st.DataObject) -> nn.Module:
    return build(data.draw(configurations(FOUND)))


def ids(batch: int = 3, length: int = 14) -> Tensor:
    return torch.randint(23, (batch, length), generator=torch.Generator().manual_seed(1))


def documents(batch: int = 3, length: int = 14) -> Tensor:
    return torch.randint(0, 5, (batch, length), generator=torch.Generator().manual_seed(2)).eq(0).cumsum(1)


def attention(module: nn.Module) -> nn.Module:
    return module.blocks[1].att.branch


def heads(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, H, S, width) queries and keys without positions, and values."""
    layer = attention(module)
    return layer.proj_q.content(x).transpose(1, 2), layer.proj_k.content(x).transpose(1, 2), layer.proj_v(x)


def test_a_memory_of_exactly_the_previous_tokens_read_whole_is_full_attention_to_them() -> None:
    module, x = build(gate_init=OPEN, qk_norm=False, memory_size=8, n_neighbors=8), torch.randn(2, 12, 16).double()
    query, key, value = (part[:, :, 8:] if place == 0 else part[:, :, :8] for place, part in enumerate(heads(module, x)))
    expected = torch.softmax(query @ key.mT / 8**0.5, dim=-1) @ value
    torch.testing.assert_close(attention(module).mixed(x, None)[:, :, 8:], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("option", [{}, {"separate_memory_projections": True}, {"qk_norm": False}, {"residual_mul": True}])
def test_with_a_closed_gate_it_is_the_gpt_of_the_same_seed_in_each_window(option: dict) -> None:
    gpt, module = build(name="gpt", **option), build(gate_init=CLOSED, **option)
    assert torch.equal(module(ids(length=WINDOW)), gpt(ids(length=WINDOW)))
    windows = ids(length=12).view(9, WINDOW)
    torch.testing.assert_close(module(ids(length=12)), gpt(windows).view(3, 12, 23), rtol=0, atol=1e-12)
    assert (build(**option)(ids(length=12)) - gpt(windows).view(3, 12, 23)).abs().max() > 1e-4


def test_the_weights_of_a_gpt_may_be_loaded() -> None:
    gpt, module = build(name="gpt", seed=4), build(gate_init=CLOSED)
    missing = module.load_state_dict(gpt.state_dict(), strict=False)
    assert not missing.unexpected_keys and all("gate_logit" in key or "log_scale" in key for key in missing.missing_keys)
    assert torch.equal(module(ids(length=WINDOW)), gpt(ids(length=WINDOW)))


def carried_by_hand(module: nn.Module, x: Tensor, seen: Tensor) -> Tensor:
    """The mixing of one layer, row by row and segment by segment, with a list as the memory."""
    layer, (query, key, value) = attention(module), heads(module, x)
    local = layer.local(x, SimpleNamespace(query=layer.proj_q(x), key=layer.proj_k(x), value=value), seen)
    scale = functional.softplus(torch.zeros(())) if layer.log_scale is None else layer.log_scale.exp()
    mixed = local.clone()
    for row in range(len(x)):
        memory: list[int] = []
        for start in range(0, x.shape[1], WINDOW):
            now = range(start, min(start + WINDOW, x.shape[1]))
            for token in now:
                usable = [old for old in memory if seen[row, old] == seen[row, token]]
                for head in range(key.shape[1] if usable else 0):
                    own = functional.normalize(query[row, head, token], dim=-1)
                    products = functional.normalize(key[row, head, usable], dim=-1) @ own * scale[head]
                    best = products.topk(min(layer.n_neighbors, len(usable)))
                    read = torch.softmax(best.values, 0) @ value[row, head, usable][best.indices]
                    gate = torch.sigmoid(layer.gate_logit[head])
                    mixed[row, head, token] = gate * read + (1 - gate) * local[row, head, token]
            memory = (memory + list(now))[-layer.memory_size :]
    return mixed


@pytest.mark.parametrize("memory_size", [1, 3, 4, 6, 100])
@pytest.mark.parametrize("cache", [0, 5])
def test_segments_are_those_of_a_loop_that_drops_the_oldest_tokens(memory_size: int, cache: int) -> None:
    module = build(memory_size=memory_size, xl_cache=cache, gate_init=0.5)
    x = torch.randn(3, 14, 16, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(
        attention(module).mixed(x, documents()), carried_by_hand(module, x, documents()), rtol=0, atol=1e-12
    )


def layers_of_one_row(module: nn.Module, tokens: Tensor) -> Tensor:
    """What the layers give when each segment is called with what was before it alone."""
    parts = [module.hidden_states(tokens[:, : start + WINDOW])[:, start:] for start in range(0, tokens.shape[1], WINDOW)]
    return torch.cat(parts, dim=1)


def test_the_segments_of_one_call_are_those_of_calls_that_end_with_them() -> None:
    module = build(n_layers=3, memory_layer=1, xl_cache=3)
    torch.testing.assert_close(module.hidden_states(ids()), layers_of_one_row(module, ids()), rtol=0, atol=1e-12)


def test_what_is_stored_has_no_gradient() -> None:
    module = build()
    x = torch.randn(2, 12, 16).double().requires_grad_()
    attention(module).mixed(x, None)[:, :, 4:].square().sum().backward()
    assert not x.grad[:, :4].any() and x.grad[:, 4:].any()
    opened = build(gate_init=OPEN)
    attention(opened).mixed(x, None)[:, :, 4:].square().sum().backward()
    assert not attention(opened).proj_k.linear.weight.grad.any(), "local attention has no part, and the memory gives none"


def test_projections_of_the_memory_alone_learn_from_how_it_is_read() -> None:
    module, x = build(separate_memory_projections=True, gate_init=OPEN), torch.randn(2, 12, 16).double().requires_grad_()
    attention(module).mixed(x, None)[:, :, 4:].square().sum().backward()
    assert all(parameter.grad.any() for parameter in attention(module).own.parameters())
    assert not x.grad[:, :4].any()


@pytest.mark.parametrize(
    "option", [{"gate_init": 1.0}, {"gate_init": CLOSED, "xl_cache": 6}, {"separate_memory_projections": True}]
)
def test_nothing_of_another_document_is_read(option: dict) -> None:
    module, numbers = build(n_layers=1, memory_layer=0, **option), torch.tensor([[0] * 6 + [1] * 6] * 3)
    first, other = ids(length=12), ids(length=12)
    other[:, :4] = (other[:, :4] + 1) % 23
    shown = [module.hidden_states(tokens, numbers) for tokens in (first, other)]
    assert torch.equal(shown[0][:, 6:], shown[1][:, 6:])
    assert (shown[0][:, 4:6] - shown[1][:, 4:6]).abs().amin() > 1e-6, "the same document is read from"
    without = [module.hidden_states(tokens) for tokens in (first, other)]
    assert (without[0][:, 8:] - without[1][:, 8:]).abs().max() > 1e-6


def test_documents_of_a_row_do_not_reset_another_row() -> None:
    module, numbers = build(xl_cache=4), documents()
    alone = module.hidden_states(ids()[1:2], numbers[1:2])
    numbers[0] += torch.arange(14)
    torch.testing.assert_close(module.hidden_states(ids(), numbers)[1:2], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("pos", ["rope", "none"])
def test_with_one_layer_a_cache_is_full_attention_to_cache_and_segment(window: int, pos: str) -> None:
    values = {"n_layers": 1, "pos": pos}
    module = build(**values, segment_len=window, xl_cache=5, gate_init=CLOSED)
    gpt = build(name="gpt", **values)
    found = module(ids())
    for start in range(0, 14 - window + 1, window):
        first = max(0, start - 5)
        expected = gpt(ids()[:, first : start + window])[:, start - first :]
        torch.testing.assert_close(found[:, start : start + window], expected, rtol=0, atol=1e-12)


def test_inference_computes_the_same_as_training() -> None:
    module = build(xl_cache=3, separate_memory_projections=True)
    with torch.inference_mode():
        inferred = module.hidden_states(ids(), documents())
    torch.testing.assert_close(inferred, module.hidden_states(ids(), documents()), rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_later_tokens_change_nothing_earlier(data: st.DataObject) -> None:
    module, position = drawn(data), data.draw(st.integers(1, 13), label="position")
    changed, numbers = ids(), documents()
    changed[:, position:] = (changed[:, position:] + 1) % 23
    numbers[:, position:] += 1
    earlier = module.hidden_states(ids(), documents())[:, :position]
    torch.testing.assert_close(module.hidden_states(changed, numbers)[:, :position], earlier, rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_a_row_does_not_see_the_rest_of_its_batch(data: st.DataObject) -> None:
    module = drawn(data)
    together = module.hidden_states(ids(), documents())[1:2]
    torch.testing.assert_close(module.hidden_states(ids()[1:2], documents()[1:2]), together, rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_gradients_are_finite_and_reach_every_parameter(data: st.DataObject) -> None:
    module = drawn(data)
    functional.cross_entropy(module(ids()).flatten(0, 1), ids().flatten()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_weights_survive_a_checkpoint_and_calls_leave_nothing_behind() -> None:
    first, other = build(seed=5, xl_cache=2), build(seed=6, xl_cache=2)
    before = first(ids())
    assert not torch.allclose(before, other(ids()))
    other.load_state_dict(first.state_dict())
    assert torch.equal(other(ids()), before) and torch.equal(first(ids()), before)


def test_the_log_probabilities_are_those_of_the_states_under_the_documents() -> None:
    module = build()
    tokens, numbers = ids(), documents()
    places = torch.arange(14).expand(3, 14)
    batch = TokenBatch(tokens, tokens.roll(-1, 1), numbers, places, torch.ones_like(tokens, dtype=torch.bool), "train")
    logits = module.output_head(module.hidden_states(tokens, numbers))
    expected = torch.log_softmax(logits.float(), -1).gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    assert isinstance(module, LanguageModule)
    torch.testing.assert_close(module.target_log_probabilities(batch), expected)
    assert (module(tokens) - logits).abs().max() > 1e-6, "without documents the memory shows more"


def test_the_share_of_the_memory_counts_what_has_nothing_to_read_as_zero() -> None:
    module, share = build(gate_init=0.0), attention(build()).share
    share = attention(module).share
    share.begin_observation()
    module.hidden_states(ids(2, 8), torch.tensor([[0] * 8, [0] * 6 + [1] * 2]))
    # Of 16 tokens the four of the second segment of row 0 and two of row 1 read, by half.
    assert share.end_observation()["gate/mean"] == pytest.approx(0.5 * 6 / 16)


@pytest.mark.parametrize(
    ("option", "added"),
    [
        ({}, 2 * 2),
        ({"qk_norm": False}, 2),
        ({"separate_memory_projections": True}, 4 + 16 * 2 * (8 + 8 + 6)),
        ({"separate_memory_projections": True, "q_gated": True, "k_gated": True}, 4 + 16 * 2 * (4 * 8 + 6)),
    ],
)
def test_the_counts_add_the_memory_to_those_of_gpt(option: dict, added: int) -> None:
    module, gpt = build(**option), build(name="gpt", **option)
    counts = measure_counts(module)
    assert counts.block - measure_counts(gpt).block == added
    assert counts.external == 6 * 2 * (8 + 6) and counts.buffers == 0


def test_a_task_of_single_windows_has_two_segments_and_one_of_several_windows_one_each() -> None:
    model = FOUND.configuration.from_values(SMALL)
    lengths = [attention(FOUND.build(model, task)).segment_len for task in (recall_task(input_seq_len=13), text_task(13))]
    assert lengths == [7, 13]
    chosen = FOUND.configuration.from_values({**SMALL, "segment_len": 5})
    assert attention(FOUND.build(chosen, text_task(13))).segment_len == 5


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 12])
def test_the_memory_is_in_the_layer_three_quarters_up(layers: int) -> None:
    blocks = build(n_layers=layers).blocks
    assert [number for number, block in enumerate(blocks) if hasattr(block.att.branch, "gate_logit")] == [3 * layers // 4]


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        ({"use_att": False, "use_ffn": True}, "set use_att: true"),
        ({"memory_layer": 2}, "keep it below n_layers, or set null"),
        ({"memory_size": 0}, "must be at least 1"),
        ({"segment_len": 0}, "must be at least 1"),
        ({"scale_init": 0.0}, "must be greater than 0"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_with_a_cure(values: dict, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        FOUND.configuration.from_values({**SMALL, **values})


def test_closed_forms_and_rules_accept_columns_with_and_without_null() -> None:
    chosen = [{"memory_layer": 1, "segment_len": 3}, {"memory_layer": None, "segment_len": None, "xl_cache": 7}]
    models = [FOUND.configuration.from_values({**SMALL, **values}) for values in chosen]
    columns = SimpleNamespace(**{name: np.array([getattr(model, name) for model in models]) for name in vars(models[0])})
    for task in (recall_task(), text_task()):
        for form in (FOUND.activation_elements, FOUND.build.state_elements):
            assert form(columns, task).tolist() == [form(model, task) for model in models]
    columns.n_layers = np.array([1, 1])
    assert FOUND.configuration.rules[-1].holds(columns).tolist() == [False, True]


KEPT = [
    {},
    {"qk_norm": False, "n_neighbors": 64},
    {"n_layers": 2, "separate_memory_projections": True},
    {"n_layers": 2, "xl_cache": 48},
    {"n_layers": 2, "use_ffn": True, "dk": 16, "dv": 32, "memory_size": 32},
]


@pytest.mark.parametrize("values", KEPT)
@pytest.mark.parametrize("windows", [1, 4])
def test_activation_elements_are_near_what_autograd_keeps(values: dict, windows: int) -> None:
    model, task = FOUND.configuration.from_values({"dim": 64, **values}), recall_task(64, 96)
    if windows > 1:
        task.segments = windows
    module, tokens = FOUND.build(model, task), torch.randint(64, (4, 96 * windows))
    estimated = windows * FOUND.activation_elements(model, task)
    assert estimated == pytest.approx(kept_per_example(module, tokens), rel=0.15)


def kept_per_example(module: nn.Module, tokens: Tensor) -> float:
    """In elements of four bytes."""
    known = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()} | {tokens.untyped_storage().data_ptr()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = module.hidden_states(tokens, torch.zeros_like(tokens) if tokens.shape[1] > 96 else None)
        loss = functional.cross_entropy(module.output_head(states).flatten(0, 1), tokens.flatten())
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / 4 / len(tokens)


def test_bfloat16_autocast() -> None:
    module = build(n_neighbors=100, xl_cache=4, init_std=0.05).float()
    exact = module(ids())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(ids())
        functional.cross_entropy(found.flatten(0, 1), ids().flatten()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    torch.testing.assert_close(found.float(), exact, rtol=0.1, atol=0.05)


def accuracy_on_recall(folder: Path, epochs: int, **model: object) -> float:
    values = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 20000, "val_examples": 500}
    request = RunRequest(
        run="recall",
        architecture=FOUND.name,
        task="mqar",
        model={"n_layers": 2, "dk": 32, "dv": 32, **model},
        task_values=values,
        training={"epochs": epochs, "lr": 3e-3, "batch_size": 64},
        seed=0,
        artifacts=folder,
        folder=folder,
    )
    session = TrainingSession(request, torch.device("cpu"))
    session.start()
    report = session.step()
    while not report.finished:
        report = session.step()
    return report.metrics["val/accuracy"]


@pytest.mark.long
def test_it_recalls_from_its_memory_what_its_segment_does_not_hold(tmp_path: Path) -> None:
    assert accuracy_on_recall(tmp_path, 1) > 0.9
    assert accuracy_on_recall(tmp_path, 1, gate_init=-30.0) < 0.6
