"""A Hugging Face causal language model with the interface of a token architecture."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.counts import ParameterCounts, measure_counts
from trainables.pretrained.config import causal_configuration, refusal
from trainables.pretrained.sizes import ModelSizes, model_sizes
from trainables.pretrained.transformers_package import quiet, transformers_library


class PretrainedLanguageModel(nn.Module):
    """The model that a ``config.json`` describes, with random weights in torch's default precision on its default device
    (``meta`` too).

    It is a base, never trained here: its layers stay in evaluation mode, without dropout, whatever :meth:`train` says.

    Raises:
        ValueError: transformers has no such model, or its layers are not found.
    """

    sizes: ModelSizes
    model: Any
    """The model of transformers."""
    attention: str
    """The implementation of attention that it uses, a name of transformers."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        configuration = causal_configuration(config)
        self.sizes = model_sizes(config)
        self.model, self.attention = _build(configuration)
        self._cap = _number(configuration, "final_logit_softcapping")
        self._scale = (_number(configuration, "logit_scale") or 1.0) / (_number(configuration, "logits_scaling") or 1.0)
        self.train(False)

    def train(self, mode: bool = True) -> PretrainedLanguageModel:
        super().train(mode)
        self.model.eval()
        return self

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers."""
        for part in self.model.base_model.modules():
            if isinstance(part, nn.ModuleList) and len(part) == self.sizes.layers:
                return part
        raise ValueError(f"no layers are found in a {self.config['model_type']}: take another model, such as a gpt2 or a llama")

    @property
    def token_embedding(self) -> nn.Module:
        """The table of tokens (V, D), shared with the output head where the model ties them."""
        table: nn.Module = self.model.get_input_embeddings()
        return table

    @property
    def embedding(self) -> nn.ModuleList:
        """The tables of tokens and, where they are learned, of positions."""
        inside = set(self.blocks.modules())
        tables = [part for part in self.model.base_model.modules() if isinstance(part, nn.Embedding) and part not in inside]
        return nn.ModuleList(dict.fromkeys([self.token_embedding, *tables]))

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Tokens (B, T) int64, at the positions from 0 on, to the normalised states that the output head reads (B, T, D)."""
        states: Tensor = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return states

    def output_head(self, states: Tensor) -> Tensor:
        """(..., D) to logits (..., V), scaled and capped as the model does it."""
        logits: Tensor = self.model.get_output_embeddings()(states)
        if self._scale != 1:
            logits = logits * self._scale
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    def logits_and_cache(self, ids: Tensor) -> tuple[Tensor, Any]:
        """Tokens (B, T) int64 to logits (B, T, V), with the keys and values from which the sequence can be continued."""
        output = self.model.base_model(input_ids=ids, use_cache=True)
        return self.output_head(output.last_hidden_state), output.past_key_values

    def forward(self, ids: Tensor) -> Tensor:
        """Tokens (B, T) int64 to logits (B, T, V)."""
        return self.output_head(self.hidden_states(ids))


def pretrained_counts(config: Mapping[str, Any]) -> ParameterCounts:
    """Parameters of a model by scope, none of them frozen; tied tables count once, as embedding.

    Exact, from the module itself on the ``meta`` device, which holds no numbers; made once a configuration.

    Raises:
        ValueError: as for :class:`PretrainedLanguageModel`.
    """
    return _counts(_text(config))


@functools.lru_cache(maxsize=64)
def _counts(config: str) -> ParameterCounts:
    return measure_counts(_on_meta(config))


def model_on_meta(config: Mapping[str, Any]) -> PretrainedLanguageModel:
    """The module without numbers, made once a configuration; not to be changed."""
    return _on_meta(_text(config))


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps(dict(config), sort_keys=True)


@functools.lru_cache(maxsize=16)
def _on_meta(config: str) -> PretrainedLanguageModel:
    with torch.device("meta"):
        return PretrainedLanguageModel(json.loads(config))


def _build(configuration: Any) -> tuple[Any, str]:
    """The model and the attention that it got: the fused one of torch where the model has it."""
    from_config = transformers_library().AutoModelForCausalLM.from_config
    build = functools.partial(from_config, dtype=torch.get_default_dtype(), trust_remote_code=False)
    with quiet():
        try:
            return build(configuration, attn_implementation="sdpa"), "sdpa"
        except Exception:  # it may only have no fused attention; what else is wrong is said again
            pass
        try:
            return build(configuration, attn_implementation="eager"), "eager"
        except Exception as error:  # each model has checks, and errors, of its own
            raise ValueError(refusal(configuration.model_type, error)) from error


def _number(configuration: Any, name: str) -> float | None:
    value = getattr(configuration, name, None)
    return float(value) if isinstance(value, (int, float)) else None
