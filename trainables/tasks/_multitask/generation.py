"""Greedy answers: the most probable token, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from trainables.pretrained.generation import generate_by_library, is_generated_by_library, until
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.task import TokenModule
from trainables.tasks._multitask.validation import IntArray


def generate(
    module: nn.Module,
    prompts: Sequence[IntArray],
    new_tokens: int,
    is_complete: Callable[[list[int]], bool],
    batch_size: int,
    device: torch.device,
) -> list[list[int]]:
    """Behind each prompt the most probable tokens, at most ``new_tokens`` and up to a boundary, which is not given.

    The first token of a prompt is the boundary. A row may end earlier, once ``is_complete`` says so of its tokens. The module is
    in evaluation mode; ``batch_size`` prompts at once, which changes nothing but speed.
    """
    boundary = int(prompts[0][0])
    answers: list[list[int]] = [[] for _ in prompts]
    for places in _groups(prompts, batch_size):
        rows = [torch.from_numpy(prompts[place]).long().to(device) for place in places]
        if is_generated_by_library(module):
            found = generate_by_library(cast(PretrainedLanguageModel, module), rows, new_tokens, boundary)
        else:
            found = generate_step_by_step(module, rows, new_tokens, boundary, is_complete)
        for place, tokens in zip(places, found, strict=True):
            answers[place] = tokens
    return answers


def generate_step_by_step(
    module: nn.Module, prompts: Sequence[Tensor], new_tokens: int, boundary: int, is_complete: Callable[[list[int]], bool]
) -> list[list[int]]:
    """As :func:`generate`, of one batch, int64 (n,) each, by reading all again for each new token, as any module over tokens can.

    Rows are filled on the right, where no causal module looks.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    rows, open_rows = list(prompts), list(range(len(prompts)))
    for _ in range(new_tokens):
        following = _next_tokens(module, [rows[place] for place in open_rows], boundary)
        for place, token in zip(open_rows, following.unbind(), strict=True):
            answers[place].append(int(token))
            rows[place] = torch.cat([rows[place], token.view(1)])
        open_rows = [place for place in open_rows if answers[place][-1] != boundary and not is_complete(answers[place])]
        if not open_rows:
            break
    return [until(answer, boundary) for answer in answers]


def _next_tokens(module: nn.Module, rows: Sequence[Tensor], filler: int) -> Tensor:
    """(B,) the most probable token behind each row."""
    tokens = cast(TokenModule, module)
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=filler)
    last = torch.tensor([len(row) - 1 for row in rows], device=ids.device)
    states = tokens.hidden_states(ids)[torch.arange(len(rows), device=ids.device), last]
    return tokens.output_head(states).argmax(-1)


def _groups(prompts: Sequence[IntArray], size: int) -> Iterator[list[int]]:
    """Places of prompts of similar lengths."""
    places = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    for start in range(0, len(places), size):
        yield places[start : start + size]
