"""Models of transformers behind the interface of a token architecture: logits, keys, counts and weights."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model
from tiny import TYPES, WIDTH, save_tiny_model, tiny_model
from torch import nn

from trainables.counts import measure_counts
from trainables.language import head_log_probabilities
from trainables.pretrained.folder import model_files, read_config
from trainables.pretrained.keys import key_source, key_width
from trainables.pretrained.model import PretrainedLanguageModel, model_on_meta, pretrained_counts
from trainables.pretrained.tokenizer import tokenizer_problem
from trainables.pretrained.weights import load_pretrained

VOCABULARY = 53
USUAL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "num_key_value_heads": 1,
}
OTHERS: dict[str, dict[str, Any]] = {
    "opt": {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8, "n_positions": 64},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "mixtral": {**USUAL, "num_local_experts": 2},
    "granite": {**USUAL, "logits_scaling": 3.0},
    "cohere": {**USUAL, "logit_scale": 0.25},
    "gemma2": {**USUAL, "head_dim": 16, "final_logit_softcapping": 0.5},
}
BESIDES = {"gptj": 2 * WIDTH + VOCABULARY, "bloom": 4 * WIDTH} | dict.fromkeys(("gpt2", "gpt_neox", "opt"), 2 * WIDTH)
"""Elements of the final norm, of a norm behind the embedding and of a bias of the head; of other types WIDTH."""


def ids(batch: int = 3, length: int = 17) -> torch.Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


def config_of(model: Any) -> dict[str, Any]:
    return json.loads(json.dumps(model.config.to_dict()))


def loaded(tmp_path: Path, model_type: str, **values: Any) -> tuple[PretrainedLanguageModel, Any]:
    """Our module with the weights of a folder, and the model that was saved there."""
    folder = save_tiny_model(tmp_path / model_type, model_type, VOCABULARY, **values)
    torch.manual_seed(7)
    module = PretrainedLanguageModel(read_config(folder))
    load_pretrained(module, folder)
    return module, tiny_model(model_type, VOCABULARY, **values)


def output_of(layer: nn.Module, run: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What one layer read and gave while ``run`` saw ``inputs``."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = layer.register_forward_hook(lambda _, arguments, output: seen.append((arguments[0], output)))
    run(inputs)
    handle.remove()
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize("model_type", [*TYPES, *OTHERS])
@torch.no_grad()
def test_a_loaded_model_gives_the_logits_of_transformers(tmp_path: Path, model_type: str) -> None:
    module, model = loaded(tmp_path, model_type, **OTHERS.get(model_type, {}))
    expected = model(input_ids=ids()).logits
    torch.testing.assert_close(module(ids()), expected, rtol=1e-4, atol=1e-5)
    log_probabilities = head_log_probabilities(module, module.hidden_states(ids())[:, :-1], ids()[:, 1:])
    own = expected.log_softmax(-1)[:, :-1].gather(-1, ids()[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(log_probabilities, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_later_tokens_and_other_rows_change_nothing(tmp_path: Path, model_type: str) -> None:
    module, _ = loaded(tmp_path, model_type)
    changed = ids()
    changed[0, 9:], changed[1] = 0, 0
    before, after = module.hidden_states(ids()), module.hidden_states(changed)
    torch.testing.assert_close(before[0, :9], after[0, :9])
    torch.testing.assert_close(before[2], after[2])
    assert not torch.allclose(before[0, 9:], after[0, 9:])


@pytest.mark.parametrize(
    ("model_type", "layer"),
    [
        ("gpt2", "transformer.h.1.mlp"),
        ("llama", "model.layers.1.mlp"),
        ("qwen2", "model.layers.1.mlp"),
        ("gpt_neox", "gpt_neox.layers.1.mlp"),
    ],
)
@torch.no_grad()
def test_keys_are_the_two_sides_of_the_last_feed_forward_layer(tmp_path: Path, model_type: str, layer: str) -> None:
    module, model = loaded(tmp_path, model_type)
    read, given = output_of(model.get_submodule(layer), model, ids())
    source, side = key_source(module, "last_ffn_input")
    assert side == "input"
    torch.testing.assert_close(output_of(source, module, ids())[0], read)
    source, side = key_source(module, "last_ffn_output")
    assert side == "output"
    torch.testing.assert_close(output_of(source, module, ids())[1], given)
    assert read.shape[-1] == given.shape[-1] == key_width(config_of(model)) == WIDTH
    assert not torch.allclose(read, given)


@pytest.mark.parametrize("model_type", [*TYPES, *OTHERS])
@torch.no_grad()
def test_keys_have_a_place_for_each_token_in_every_model(model_type: str) -> None:
    model = tiny_model(model_type, VOCABULARY, **OTHERS.get(model_type, {}))
    module = PretrainedLanguageModel(config_of(model))
    shapes = []
    for key_layer in ("last_ffn_input", "last_ffn_output"):
        source, side = key_source(module, key_layer)
        key = output_of(source, module, ids())[0 if side == "input" else 1]
        shapes.append(tuple(key.view(3, 17, -1).shape))
    assert shapes == [(3, 17, WIDTH)] * 2


@torch.no_grad()
def test_the_key_behind_a_layer_that_takes_the_residual_stream_is_without_it() -> None:
    module = PretrainedLanguageModel(config_of(tiny_model("bloom", VOCABULARY, **OTHERS["bloom"])))
    source, _ = key_source(module, "last_ffn_output")
    assert source is module.blocks[-1].mlp.dense_4h_to_h


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("model_type", [*TYPES, *OTHERS])
def test_counts_are_those_of_the_model(model_type: str, tied: bool) -> None:
    model = tiny_model(model_type, VOCABULARY, tie_word_embeddings=tied, **OTHERS.get(model_type, {}))
    counts = pretrained_counts(config_of(model))
    assert counts == measure_counts(PretrainedLanguageModel(config_of(model)))
    assert counts.total == model.num_parameters()
    head = 0 if tied else VOCABULARY * WIDTH
    assert counts.other == head + BESIDES.get(model_type, WIDTH)


def test_the_counts_of_gpt2_are_the_published_ones() -> None:
    counts = pretrained_counts({"model_type": "gpt2"})
    per_block = 12 * 768**2 + 13 * 768
    assert (counts.total, counts.block, counts.embedding) == (124_439_808, 12 * per_block, (50_257 + 1_024) * 768)


@pytest.mark.parametrize("model_type", TYPES)
def test_a_model_on_meta_holds_no_numbers(model_type: str) -> None:
    module = model_on_meta(config_of(tiny_model(model_type, VOCABULARY)))
    assert {tensor.device.type for tensor in (*module.parameters(), *module.buffers())} == {"meta"}
    assert len(module.blocks) == 2


def test_a_base_has_no_dropout_even_while_what_is_around_it_trains() -> None:
    values = config_of(tiny_model("gpt2", VOCABULARY, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5))
    around = nn.Sequential(PretrainedLanguageModel(values)).train()
    torch.testing.assert_close(around(ids()), around(ids()), rtol=0, atol=0)


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_weights_survive_a_safetensors_file(tmp_path: Path, model_type: str) -> None:
    module, _ = loaded(tmp_path, model_type)
    save_model(module, str(tmp_path / "base.safetensors"))
    again = PretrainedLanguageModel(module.config)
    load_model(again, str(tmp_path / "base.safetensors"))
    torch.testing.assert_close(again(ids()), module(ids()), rtol=0, atol=0)


@torch.no_grad()
def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    model = tiny_model("llama", VOCABULARY)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    names = [file.name for file in model_files(tmp_path)]
    assert names[:2] == ["config.json", "model.safetensors.index.json"] and len(names) > 3
    module = PretrainedLanguageModel(read_config(tmp_path))
    load_pretrained(module, tmp_path)
    torch.testing.assert_close(module(ids()), model(input_ids=ids()).logits)


@torch.no_grad()
def test_weights_in_half_precision_are_computed_with_in_float32(tmp_path: Path) -> None:
    tiny_model("llama", VOCABULARY).bfloat16().save_pretrained(tmp_path)
    config = read_config(tmp_path)
    module = PretrainedLanguageModel(config)
    load_pretrained(module, tmp_path)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert "dtype" not in config and "torch_dtype" not in config


def test_loading_asks_no_network_runs_no_code_of_the_folder_and_leaves_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    folder = save_tiny_model(tmp_path, "gpt2", VOCABULARY)
    values = json.loads((folder / "config.json").read_text())
    values |= {"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "_attn_implementation": "somebody/kernels"}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/model", "peft_type": "LORA"}))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was tried"))
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_pretrained(PretrainedLanguageModel(read_config(folder)), folder)
    assert not (tmp_path / "ran").exists()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("vocab_size", "length", "said"),
    [
        (1_000, 64, None),
        (999, 64, None),
        (900, 64, None),
        (1_001, 64, "the tokenizer has 1,001 tokens and the model 1,000: use the tokenizer of the model"),
        (257, 64, "the tokenizer has 257 tokens and the model 1,000, which is more than padding: use the tokenizer of the model"),
        (1_000, 65, "the model has 64 positions and task.input_seq_len is 65: set it to at most 64"),
    ],
)
def test_a_task_has_to_have_the_tokens_and_the_windows_of_the_model(vocab_size: int, length: int, said: str | None) -> None:
    config = {"model_type": "gpt2", "vocab_size": 1_000, "n_positions": 64}
    assert tokenizer_problem(config, vocab_size, length) == said


@pytest.mark.parametrize(("tokens", "rows"), [(151_665, 151_936), (50_295, 51_200), (50_277, 50_432), (50_277, 50_688)])
def test_tables_that_are_padded_fit_their_tokenizer(tokens: int, rows: int) -> None:
    assert tokenizer_problem({"model_type": "gpt_neox", "vocab_size": rows}, tokens, 128) is None


def test_a_model_without_learned_positions_has_no_longest_window() -> None:
    assert tokenizer_problem({"model_type": "bloom", "vocab_size": 53}, 53, 10**6) is None
