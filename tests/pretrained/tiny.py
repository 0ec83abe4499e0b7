"""Small model folders and tokenizer files, made on the spot."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

TYPES = ("gpt2", "llama", "qwen2", "gpt_neox")
WIDTH = 32

_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
}
_SIZES["gpt_neox"] = _SIZES["llama"]
_SIZES["qwen2"] = {**_SIZES["llama"], "num_key_value_heads": 1}


def tiny_model(model_type: str, vocab_size: int, seed: int = 0, **values: Any) -> Any:
    """A causal language model of transformers with 2 layers of width 32, 64 positions and random weights, in evaluation mode.

    A type without sizes here needs them in ``values``, which go into its configuration.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = _SIZES.get(model_type, {"max_position_embeddings": 64})
    if model_type != "gpt2":
        sizes = {"max_position_embeddings": 64, **sizes}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    configuration = AutoConfig.for_model(model_type, **{"vocab_size": vocab_size, **ends, **sizes, **values})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(configuration)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def save_tiny_model(folder: Path, model_type: str, vocab_size: int, seed: int = 0, **values: Any) -> Path:
    """Fills ``folder`` with a :func:`tiny_model` as ``save_pretrained`` does and returns it."""
    tiny_model(model_type, vocab_size, seed, **values).save_pretrained(folder)
    return folder


def save_tiny_tokenizer(folder: Path, texts: Iterable[str], vocab_size: int) -> Path:
    """``folder/tokenizer.json``: a byte-level BPE trained on ``texts``, of at most ``vocab_size`` tokens; <|endoftext|> is 0.

    The 256 bytes are always tokens, so ``vocab_size`` is at least 257.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
