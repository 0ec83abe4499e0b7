"""How long the sequences are that a task gives to a module over tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

_SINGLE = ("input_seq_len", "n_tokens")
_PAIR = ("train_length", "val_length")


def sequence_length(task: Any) -> Any:
    """Tokens of the longest sequence, from a task's configuration or a namespace of its fields, which may be NumPy arrays.

    Tasks call it ``input_seq_len`` or, where it is what they study, ``n_tokens``; those that evaluate on longer sequences than
    they train on have ``train_length`` and ``val_length``.
    """
    for name in _SINGLE:
        if hasattr(task, name):
            return getattr(task, name)
    train, val = (getattr(task, name) for name in _PAIR)
    return np.maximum(train, val) if isinstance(train, np.ndarray) or isinstance(val, np.ndarray) else max(train, val)


def length_field(task: Any) -> str:
    """The name of the field that :func:`sequence_length` gives; of a single configuration."""
    single = next((name for name in _SINGLE if hasattr(task, name)), None)
    return single or max(_PAIR, key=lambda name: int(getattr(task, name)))
