"""A frozen backbone with adapters in attention and in the keys of its feed-forward memory (up_proj)."""

from __future__ import annotations

from trainables.architecture import register_architecture
from trainables.pretrained.lora.configuration import LoraConfiguration
from trainables.pretrained.lora.model import LoraLanguageModel
from trainables.pretrained.lora.rules import lora_rules

_TARGETS = ("q_proj", "v_proj", "up_proj")


@register_architecture("lora_keys_up", configuration=LoraConfiguration, kind="tokens", pair_rules=lora_rules(_TARGETS))
class LoraKeysUp(LoraLanguageModel):
    """A frozen backbone with adapters in attention and in the keys of its feed-forward memory (up_proj).

    Qiu et al. 2024, 'Empirical Study on Updating Key-Value Memories in Transformer Feed-forward Layers' (arXiv 2402.12233).
    """

    default_targets = _TARGETS
