"""Laws that hold for every model of the MQAR family, whatever its options."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import MQAR_FAMILY, configurations, over_configurations, token_task
from torch import nn
from torch.nn import functional

from trainables.configuration import ConfigurationError
from trainables.registry import architectures

over_family = pytest.mark.parametrize("name", MQAR_FAMILY)
over_options = over_configurations(max_examples=25)


def _build(name: str, model: object = None, *, seed: int = 0, **values: object) -> nn.Module:
    architecture = architectures()[name]
    torch.manual_seed(seed)
    return architecture.build(model or architecture.configuration.from_values(values), token_task()).double()


def _ids(batch: int = 3, length: int = 12, *, seed: int = 1) -> torch.Tensor:
    return torch.randint(23, (batch, length), generator=torch.Generator().manual_seed(seed))


@over_family
@over_options
@given(data=st.data())
def test_later_tokens_change_nothing_earlier(name: str, data: st.DataObject) -> None:
    module = _build(name, data.draw(configurations(architectures()[name])))
    position = data.draw(st.integers(1, 11), label="position")
    ids, changed = _ids(), _ids()
    changed[:, position:] = (changed[:, position:] + 1) % 23
    torch.testing.assert_close(module(changed)[:, :position], module(ids)[:, :position], rtol=0, atol=1e-12)


@over_family
def test_earlier_tokens_do_change_what_follows(name: str) -> None:
    module = _build(name)
    ids, changed = _ids(), _ids()
    changed[:, 0] = (changed[:, 0] + 1) % 23
    assert (module(changed)[:, 1:] != module(ids)[:, 1:]).any(-1).all()


@over_family
@over_options
@given(data=st.data())
def test_a_row_does_not_see_the_rest_of_its_batch(name: str, data: st.DataObject) -> None:
    module, ids = _build(name, data.draw(configurations(architectures()[name]))), _ids()
    torch.testing.assert_close(module(ids[1:2]), module(ids)[1:2], rtol=0, atol=1e-12)


@over_family
@over_options
@given(data=st.data())
def test_gradients_are_finite_and_reach_every_parameter(name: str, data: st.DataObject) -> None:
    module, ids = _build(name, data.draw(configurations(architectures()[name]))), _ids()
    functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten()).backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


@over_family
def test_forward_is_the_head_of_the_hidden_states(name: str) -> None:
    module, ids = _build(name), _ids()
    states = module.hidden_states(ids)
    assert states.shape == (3, 12, 64)
    assert isinstance(module.output_head, nn.Linear) and isinstance(module.blocks, nn.ModuleList)
    assert torch.equal(module.output_head(states), module(ids)) and module(ids).shape == (3, 12, 23)


@over_family
def test_weights_follow_the_global_seed(name: str) -> None:
    first, again, other = (_build(name, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@over_family
def test_initial_weights(name: str) -> None:
    module = _build(name, init_std=0.05, dim=256)
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)) and part.weight.numel() > 5000:
            assert part.weight.std().item() == pytest.approx(0.05, rel=0.05)
            assert part.weight.mean().item() == pytest.approx(0.0, abs=0.005)


@over_family
def test_no_biases(name: str) -> None:
    assert not [key for key in _build(name, use_ffn=True, att_use_output_gate=True, q_gated=True).state_dict() if "bias" in key]


@over_family
def test_an_untrained_model_is_undecided_between_all_tokens(name: str) -> None:
    module, ids = _build(name), _ids(16)
    loss = functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(torch.log(torch.tensor(23.0)).item(), abs=0.1)


@over_family
def test_bfloat16_autocast(name: str) -> None:
    module, ids = _build(name).float(), _ids()
    exact = module(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(ids).float(), exact, rtol=0.1, atol=0.05)


@over_family
@pytest.mark.parametrize("option", ["q_kernel", "k_kernel", "v_kernel", "q_norm", "k_norm", "pos"])
def test_every_choice_of_an_option_makes_a_difference(name: str, option: str) -> None:
    choices = architectures()[name].configuration.hyperparameters()[option].type.__args__
    outputs = [_build(name, init_std=0.5, **{option: choice})(_ids()) for choice in choices]
    for i, output in enumerate(outputs):
        assert all((output - other).abs().max() > 1e-6 for other in outputs[:i])


@over_family
def test_a_block_needs_a_layer(name: str) -> None:
    with pytest.raises(ConfigurationError, match="set use_att or use_ffn"):
        architectures()[name].configuration.from_values({"use_att": False, "use_ffn": False})


@pytest.mark.parametrize(("name", "field"), [("gpt", "dk"), ("unified_kv", "du"), ("delta_net", "dk")])
def test_rotary_positions_need_an_even_width(name: str, field: str) -> None:
    configuration = architectures()[name].configuration
    with pytest.raises(ConfigurationError, match=f"make {field} even, or set pos: none"):
        configuration.from_values({field: 7, "pos": "rope"})
    assert configuration.from_values({field: 7, "pos": "none"})


def test_unified_kv_is_gpt_with_tied_projections() -> None:
    unified, gpt = _build("unified_kv", du=8, k_norm="l2"), _build("gpt", dk=8, dv=8, k_norm="l2")
    weights = {}
    for key, value in unified.state_dict().items():
        if "proj_kv" in key:
            weights[key.replace("proj_kv", "proj_k.linear")] = value
            weights[key.replace("proj_kv", "proj_v.linear")] = value
        else:
            weights[key] = value
    gpt.load_state_dict(weights)
    torch.testing.assert_close(unified(_ids()), gpt(_ids()))


def test_delta_net_write_strength_lies_within_its_limit() -> None:
    x = 5 * torch.randn(2, 5, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for values, limit in [({}, 1.0), ({"allow_neg_eigval": True}, 2.0), ({"beta_cap": 0.9}, 0.9)]:
        memory = _build("delta_net", init_std=0.2, **values).blocks[0].att.branch
        strength = memory.write_strength(x)
        assert strength.shape == (2, 2, 5) and strength.min() >= 0
        assert 0.9 * limit < strength.max() <= limit
        hotter = _build("delta_net", init_std=0.2, lr_temp=2.0, **values).blocks[0].att.branch.write_strength(x)
        torch.testing.assert_close(torch.logit(hotter / limit) * 2, torch.logit(strength / limit))


@pytest.mark.parametrize("values", [{"chunk_size": 5}, {"chunk_size": 64}, {"delta_rule_backend": "recurrent"}])
def test_delta_net_computes_the_same_with_any_implementation(values: dict) -> None:
    torch.testing.assert_close(_build("delta_net", **values)(_ids()), _build("delta_net")(_ids()), rtol=0, atol=1e-10)
