"""Published models by name, as configurations of transformers: their shapes, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _gpt2(width: int, layers: int, heads: int) -> dict[str, Any]:
    """Radford et al. 2019, 'Language Models are Unsupervised Multitask Learners', table 2."""
    return {"model_type": "gpt2", "n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": 1024, "vocab_size": 50257}


def _qwen2(width: int, inner: int, layers: int, heads: int, key_heads: int, vocabulary: int, tied: bool) -> dict[str, Any]:
    """Yang et al. 2024, 'Qwen2 Technical Report' (arXiv 2407.10671), table 1."""
    return {
        **{"model_type": "qwen2", "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers},
        **{"num_attention_heads": heads, "num_key_value_heads": key_heads, "vocab_size": vocabulary},
        **{"tie_word_embeddings": tied, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6},
        **{"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "bos_token_id": 151643, "eos_token_id": 151643},
    }


_LLAMA_2_7B: dict[str, Any] = {
    # Touvron et al. 2023, 'Llama 2' (arXiv 2307.09288).
    **{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096},
    **{"rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2},
}
_LLAMA_3_1_8B: dict[str, Any] = {
    # Grattafiori et al. 2024, 'The Llama 3 Herd of Models' (arXiv 2407.21783), table 3.
    **{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072},
    **{"rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 128000, "eos_token_id": 128001},
    "rope_parameters": {
        **{"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 8192},
        **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    },
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "llama-2-7b": _LLAMA_2_7B,
    "llama-3.1-8b": _LLAMA_3_1_8B,
    "qwen2-0.5b": _qwen2(896, 4864, 24, 14, 2, 151936, tied=True),
    "qwen2-1.5b": _qwen2(1536, 8960, 28, 12, 2, 151936, tied=True),
    "qwen2-7b": _qwen2(3584, 18944, 28, 28, 4, 152064, tied=False),
}
"""The configuration of each."""
