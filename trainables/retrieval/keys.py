"""Keys of a datastore: what the last feed-forward layer of a base model reads, or what it gives."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import Tensor, nn

from trainables.layers.token_model import Block
from trainables.task import TokenModule

KeyLayer = Literal["last_ffn_input", "last_ffn_output"]
"""The input of the last block's feed-forward layer, behind its norm; or what that layer adds to the residual stream."""


def encode(base: nn.Module, ids: Tensor, key_layer: KeyLayer) -> tuple[Tensor, Tensor]:
    """Tokens (B, S) to the states that the output head reads (B, S, D) and the keys (B, S, Dk), in one pass."""
    layer, side = _key_source(base, key_layer)
    seen: list[Tensor] = []

    def see(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        found = inputs if side == "input" else output
        seen.append(found if isinstance(found, Tensor) else found[0])

    handle = layer.register_forward_hook(see)
    try:
        states = cast(TokenModule, base).hidden_states(ids)
    finally:
        handle.remove()
    return states, seen[-1].reshape(*ids.shape, -1)


def _key_source(base: nn.Module, key_layer: KeyLayer) -> tuple[nn.Module, str]:
    last = cast(nn.ModuleList, base.blocks)[-1]
    if isinstance(last, Block):
        return last.get_submodule("ffn.branch"), key_layer.removeprefix("last_ffn_")
    from trainables.pretrained.keys import key_source
    from trainables.pretrained.model import PretrainedLanguageModel

    return key_source(cast(PretrainedLanguageModel, base), key_layer)
