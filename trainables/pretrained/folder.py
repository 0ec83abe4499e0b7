"""A model folder looked at before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainables.pretrained.config import CONFIG_FILE, described_model
from trainables.pretrained.keys import key_source
from trainables.pretrained.model import model_on_meta
from trainables.pretrained.weights import require_shapes, weight_files


def read_config(folder: Path, *, gives_keys: bool = False) -> dict[str, Any]:
    """The values of ``config.json`` that describe the model, without where and when it was saved.

    Raises:
        ValueError: the folder holds no causal language model, or none that ``gives_keys`` for a datastore; the text names the
            place and the cure.
        ModuleNotFoundError: transformers is not installed.
    """
    config = described_model(folder)
    weight_files(folder)
    try:
        model = model_on_meta(config)
        if gives_keys:
            key_source(model, "last_ffn_input")
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE}: {error}") from error
    require_shapes(model, folder)
    return config


def model_files(folder: Path) -> list[Path]:
    """The files that decide what the model computes: ``config.json`` and the weights.

    Raises:
        ValueError: as for :func:`read_config`, of the weights.
    """
    return [folder / CONFIG_FILE, *weight_files(folder)]
