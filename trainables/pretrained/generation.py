"""Greedy generation by the library, with its cache of keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.language import ChunkedModule, LanguageModule
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.pretrained.transformers_package import quiet, transformers_library


def is_generated_by_library(module: nn.Module) -> bool:
    """Whether a module is a model of transformers and computes what that does, so that the library may generate for it."""
    if not isinstance(module, PretrainedLanguageModel) or isinstance(module, (LanguageModule, ChunkedModule)):
        return False
    ways = ("hidden_states", "output_head")
    return all(getattr(type(module), way) is getattr(PretrainedLanguageModel, way) for way in ways)


def generate_by_library(
    module: PretrainedLanguageModel, prompts: Sequence[Tensor], new_tokens: int, boundary: int
) -> list[list[int]]:
    """Behind each prompt, int64 (n,), on the module's device, the most probable tokens up to ``boundary``, which is not given.

    At most ``new_tokens`` of each; the module is in evaluation mode.
    """
    longest = max(map(len, prompts))
    ids = torch.stack([nn.functional.pad(prompt, (longest - len(prompt), 0), value=boundary) for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=ids.device)
    mask = torch.arange(longest, device=ids.device) >= longest - lengths.unsqueeze(1)
    with quiet():
        whole = module.model.generate(input_ids=ids, attention_mask=mask.long(), generation_config=_greedy(new_tokens, boundary))
    return [until(row, boundary) for row in whole[:, longest:].tolist()]


def until(tokens: Sequence[int], boundary: int) -> list[int]:
    """What stands before the first ``boundary``."""
    found = list(tokens)
    return found[: found.index(boundary)] if boundary in found else found


def _greedy(new_tokens: int, boundary: int) -> object:
    """Nothing of what a model's own files say of sampling."""
    return transformers_library().GenerationConfig(
        max_new_tokens=new_tokens, do_sample=False, num_beams=1, eos_token_id=boundary, pad_token_id=boundary, use_cache=True
    )
