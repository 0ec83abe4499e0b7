"""Whether a task's tokens are those of a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.pretrained.sizes import model_sizes

_ROWS_OF_PADDING = 128
_SHARE_OF_PADDING = 0.05


def tokenizer_problem(config: Mapping[str, Any], vocab_size: int, input_seq_len: int) -> str | None:
    """What is wrong with a task of ``vocab_size`` tokens and windows of ``input_seq_len`` for this model, None where nothing is.

    A model may have more rows than its tokenizer has tokens: tables are padded, up to a multiple of 128 or by 5 %. More than
    that is another tokenizer's model. Equal sizes are no proof.

    Raises:
        ValueError: ``config`` describes no causal language model.
    """
    known = model_sizes(config)
    rows, longest = known.vocabulary, known.positions
    sizes = f"the tokenizer has {vocab_size:,} tokens and the model {rows:,}"
    if vocab_size > rows:
        return f"{sizes}: use the tokenizer of the model"
    if rows > _most_rows(vocab_size):
        return f"{sizes}, which is more than padding: use the tokenizer of the model"
    if longest is not None and input_seq_len > longest:
        return f"the model has {longest:,} positions and task.input_seq_len is {input_seq_len:,}: set it to at most {longest:,}"
    return None


def _most_rows(tokens: int) -> int:
    rounded = -(-tokens // _ROWS_OF_PADDING) * _ROWS_OF_PADDING
    return max(rounded, int(tokens * (1 + _SHARE_OF_PADDING)))
