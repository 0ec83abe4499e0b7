"""A pretrained transformer in a sliding window, with a short-term and a long-term memory inside its attention."""

from __future__ import annotations

from trainables.architecture import register_architecture
from trainables.pretrained.implicit_memory.configuration import PAIR_RULES, MemoGptConfiguration
from trainables.pretrained.implicit_memory.model import ImplicitMemoryModel


@register_architecture("memo_gpt", configuration=MemoGptConfiguration, kind="tokens", pair_rules=PAIR_RULES)
class MemoGpt(ImplicitMemoryModel):
    """A Llama or Qwen2 in a sliding window whose attention reads short-term and long-term memories of each layer."""
