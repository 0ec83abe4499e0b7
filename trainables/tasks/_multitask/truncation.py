"""Prompts that are too long lose the end of their context, never the question, the options or the cue."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from trainables.tasks._multitask.prompts import Prompt


class TooLong(ValueError):
    """What may not be cut of a prompt has ``least`` tokens, more than there is room for."""

    def __init__(self, least: int) -> None:
        super().__init__(f"has {least} tokens without its context")
        self.least = least


def fitted(prompt: Prompt, room: int, count_tokens: Callable[[str], int]) -> Prompt:
    """The prompt with as much of its context as ``room`` tokens hold.

    Raises:
        TooLong: what may not be cut is longer than ``room``.
    """
    if count_tokens(prompt.text) <= room:
        return prompt
    least = count_tokens(prompt.cut(0).text)
    if least > room:
        raise TooLong(least)
    places = range(len(prompt.context))
    kept = bisect_right(places, room, key=lambda characters: count_tokens(prompt.cut(characters).text)) - 1
    # More characters seldom make fewer tokens, but they can.
    while count_tokens(prompt.cut(kept).text) > room:
        kept -= 1
    return prompt.cut(kept)
