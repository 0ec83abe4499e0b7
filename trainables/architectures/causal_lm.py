"""A causal language model of Hugging Face transformers as it is."""

from __future__ import annotations

from trainables.architecture import register_architecture
from trainables.pretrained.backbone import BackboneConfiguration, backbone_rule
from trainables.pretrained.language_model import BackboneLanguageModel


@register_architecture("causal_lm", configuration=BackboneConfiguration, kind="tokens", pair_rules=(backbone_rule(),))
class CausalLm(BackboneLanguageModel):
    """A causal language model of Hugging Face transformers as it is, fine-tuned as a whole or only evaluated."""
