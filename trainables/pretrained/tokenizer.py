"""Whether a task's tokens are those of a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.pretrained.sizes import model_sizes

_ROWS_OF_PADDING = 128
_SHARE_OF_PADDING = 0.05


def tokenizer_problem(
    config: Mapping[str, Any],
    vocab_size: int | None,
    length: int | None,
    *,
    trained: bool = True,
    field: str = "input_seq_len",
) -> str | None:
    """What is wrong with a task of ``vocab_size`` tokens for this model, None where nothing is.

    ``length`` is that of the longest sequence that the model reads at once, which the task's ``field`` says. A model may have
    more rows than its tokenizer has tokens: tables are padded, up to a multiple of 128 or by 5 %. More than that is, of a
    ``trained`` model, another tokenizer's. Equal sizes are no proof. What is None is not looked at.

    Raises:
        ValueError: ``config`` describes no causal language model.
    """
    known = model_sizes(config)
    rows, longest = known.vocabulary, known.positions
    sizes = f"the tokenizer has {vocab_size or 0:,} tokens and the model {rows:,}"
    if vocab_size is not None and vocab_size > rows:
        return f"{sizes}: use the tokenizer of the model"
    if vocab_size is not None and trained and rows > _most_rows(vocab_size):
        return f"{sizes}, which is more than padding: use the tokenizer of the model"
    if longest is not None and length is not None and length > longest:
        return f"the model has {longest:,} positions and task.{field} is {length:,}: set it to at most {longest:,}"
    return None


def _most_rows(tokens: int) -> int:
    rounded = -(-tokens // _ROWS_OF_PADDING) * _ROWS_OF_PADDING
    return max(rounded, int(tokens * (1 + _SHARE_OF_PADDING)))
