"""Model folders that cannot be a base: what is said, before anything starts and when weights are read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_tiny_model, save_tiny_tokenizer, tiny_model

from trainables.pretrained import transformers_package
from trainables.pretrained.config import causal_configuration
from trainables.pretrained.folder import read_config
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.pretrained.weights import load_pretrained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "gpt2", 53)


def change(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refused(folder: Path) -> str:
    with pytest.raises(ValueError) as raised:
        read_config(folder, gives_keys=True)
    assert str(folder) in str(raised.value)
    return str(raised.value)


def test_what_describes_a_model_does_not_depend_on_where_it_was_saved(folder: Path) -> None:
    before = read_config(folder)
    change(folder, _name_or_path="/home/somebody/gpt2", transformers_version="4.0.0", torch_dtype="float16")
    assert read_config(folder) == before
    assert before["model_type"] == "gpt2" and before["n_layer"] == 2
    change(folder, layer_norm_epsilon=0.5)
    assert read_config(folder) != before


@pytest.mark.parametrize("written", ["Infinity", '{"__float__": "Infinity"}'])
def test_numbers_that_json_has_not_are_kept_in_values_that_it_has(folder: Path, written: str) -> None:
    change(folder, layer_norm_epsilon=0.125)
    file = folder / "config.json"
    file.write_text(file.read_text().replace("0.125", written))
    config = read_config(folder)
    assert json.loads(json.dumps(config, allow_nan=False)) == config
    assert causal_configuration(config).layer_norm_epsilon == float("inf")


def test_a_path_that_is_no_folder_or_holds_no_model_is_refused(tmp_path: Path) -> None:
    assert "is not a folder: name the folder that save_pretrained wrote" in refused(tmp_path / "nothing")
    assert "is not a model folder: it has no config.json" in refused(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 10**5, "\x00"])
def test_a_damaged_configuration_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "save the model again" in refused(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "gtp2"}, "model_type 'gtp2' is not known: did you mean 'gpt2'?"),
        ({"model_type": "my-own-thing"}, "code that comes with a model is not run"),
        ({"model_type": None}, "it names no model_type"),
        ({"architectures": ["GPT2ForSequenceClassification"]}, "is not a causal language model"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM is not a causal language model"),
        ({"model_type": "bert", "architectures": None}, "a bert is not a causal language model"),
        ({"model_type": "t5", "architectures": None}, "a t5 is not a causal language model"),
        ({"model_type": "mamba", "architectures": None, "num_hidden_layers": 2}, "no feed-forward layer that is known"),
        ({"quantization_config": {"quant_method": "gptq"}}, "the weights are quantised"),
        ({"n_head": 3}, "a gpt2 cannot be made from these values"),
        ({"n_layer": 0}, "a gpt2 with 0 layers cannot be a base model"),
        ({"n_layer": 10**9}, "a gpt2 with 1,000,000,000 layers cannot be a base model"),
        ({"n_embd": "wide"}, "a gpt2 cannot be made from these values"),
    ],
)
def test_what_is_no_causal_language_model_is_refused(folder: Path, values: dict[str, Any], said: str) -> None:
    change(folder, **values)
    assert said in refused(folder)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    said = refused(folder)
    assert "pickled" in said and "save_pretrained" in said


def test_weights_that_are_missing_or_damaged_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    assert "cannot be read as safetensors" in refused(folder)
    weights.unlink()
    assert "model.safetensors.index.json are missing; copy the whole folder" in refused(folder)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{}", "is not an index of weights"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "which is no safetensors file beside it"),
        ('{"weight_map": {"a": "pytorch_model.bin"}}', "which is no safetensors file beside it"),
        ('{"weight_map": {"a": 3}}', "which is no safetensors file beside it"),
        ('{"weight_map": {"a": 3, "b": "x"}}', "is not an index of weights"),
        ('{"weight_map": {"a": "model-2.safetensors"}}', "is incomplete: model-2.safetensors is missing"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(folder: Path, index: str, said: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    assert said in refused(folder)


def refused_while_loading(folder: Path) -> str:
    with pytest.raises(ValueError) as raised:
        load_pretrained(PretrainedLanguageModel(read_config(folder)), folder)
    assert str(folder) in str(raised.value)
    return str(raised.value)


def test_weights_without_some_of_the_tensors_are_refused(folder: Path) -> None:
    module, state = PretrainedLanguageModel(read_config(folder)), load_file(folder / "model.safetensors")
    del state["transformer.h.1.mlp.c_fc.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert "transformer.h.1.mlp.c_fc.weight is in the model of config.json alone" in refused(folder)
    with pytest.raises(ValueError, match=r"lack 1 tensors of the model, such as transformer\.h\.1\.mlp\.c_fc\.weight"):
        load_pretrained(module, folder)


def test_weights_under_names_of_another_model_or_of_other_layers_are_refused_before_they_are_read(folder: Path) -> None:
    change(folder, n_layer=3)
    assert re.search(r"h\.2\..* is in the model of config\.json alone: the weights are another model's", refused(folder))
    change(folder, n_layer=1)
    assert re.search(r"h\.1\..* is in the weights alone: the weights are another model's", refused(folder))
    change(folder, n_layer=2)
    save_file({"encoder.weight": torch.zeros(2, 2)}, folder / "model.safetensors", metadata={"format": "pt"})
    assert "no tensor of its weights has a name of a gpt2" in refused(folder)


def test_weights_that_are_stored_without_the_prefix_of_the_whole_model_are_read(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in state.items() if name != "lm_head.weight"}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    load_pretrained(PretrainedLanguageModel(read_config(folder)), folder)


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["transformer.h.1.mlp.c_fc.weight"].fill_(float("nan"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert "give logits that are no numbers" in refused_while_loading(folder)


def test_heads_that_keys_cannot_be_shared_by_are_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "llama", 53)
    change(tmp_path, num_attention_heads=4, num_key_value_heads=3)
    assert "4 num_attention_heads and 3 num_key_value_heads cannot work" in refused(tmp_path)


def test_weights_of_other_shapes_do_not_get_into_a_module(folder: Path) -> None:
    module = PretrainedLanguageModel({**read_config(folder), "n_embd": 64})
    with pytest.raises(ValueError, match=r"do not fit its config\.json"):
        load_pretrained(module, folder)


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "qwen2", "gpt_neox"])
def test_weights_of_another_model_are_refused_before_they_are_read(tmp_path: Path, model_type: str) -> None:
    folder, other = (save_tiny_model(tmp_path / name, model_type, rows) for name, rows in (("a", 97), ("b", 53)))
    assert read_config(folder)["vocab_size"] == 97
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"is 53×32, and by config\.json 97×32: the weights are another model's"):
        read_config(folder)


def test_a_model_that_looks_at_later_tokens_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    save_tiny_model(tmp_path, "bert", 53, **sizes)
    with pytest.raises(ValueError, match="a bert is not a causal language model"):
        read_config(tmp_path)
    save_tiny_model(tmp_path, "bert", 53, is_decoder=True, **sizes)
    with pytest.raises(ValueError, match="no feed-forward layer that is known"):
        read_config(tmp_path, gives_keys=True)


def test_a_model_whose_logits_are_not_those_of_its_head_is_refused(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 48,
    }
    state = {"mamba_d_ssm": 32, "mamba_n_heads": 2, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8}
    save_tiny_model(tmp_path, "falcon_h1", 53, lm_head_multiplier=3.0, **sizes, **state)
    assert "does more to its logits than its output head" in refused_while_loading(tmp_path)


def test_a_causal_model_that_is_set_to_look_at_later_tokens_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "llama", 53)
    change(tmp_path, is_causal=False)
    assert "looks at later tokens" in refused_while_loading(tmp_path)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'memsweep\[hf\]'"):
        transformers_package.transformers_library()


def test_a_tiny_tokenizer_gives_text_back(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    text = "the cat sat on the mat, the cat sat — naïve\n"
    file = save_tiny_tokenizer(tmp_path / "tokenizer", [text] * 3, 270)
    tokenizer = Tokenizer.from_file(str(file))
    tokens = tokenizer.encode(text).ids
    assert tokenizer.decode(tokens) == text and len(tokens) < len(text.encode())
    assert tokenizer.token_to_id("<|endoftext|>") == 0 and 257 < tokenizer.get_vocab_size() <= 270
    assert tiny_model("gpt2", tokenizer.get_vocab_size()).config.vocab_size == tokenizer.get_vocab_size()
