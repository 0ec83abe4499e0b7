"""A frozen backbone with low-rank adapters in the attention's queries and values."""

from __future__ import annotations

from trainables.architecture import register_architecture
from trainables.pretrained.lora.configuration import LoraConfiguration
from trainables.pretrained.lora.model import LoraLanguageModel
from trainables.pretrained.lora.rules import lora_rules

_TARGETS = ("q_proj", "v_proj")


@register_architecture("lora_attn", configuration=LoraConfiguration, kind="tokens", pair_rules=lora_rules(_TARGETS))
class LoraAttention(LoraLanguageModel):
    """A frozen backbone with low-rank adapters in the attention's queries and values.

    Hu et al. 2022 (arXiv 2106.09685), section 4.2.
    """

    default_targets = _TARGETS
