"""Corpora that the library `datasets` has written with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.configuration import ConfigurationError
from trainables.tasks._language.text_folder import PARTS


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`: a dataset, or several by name."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_saved_dataset(folder: Path, column: str) -> dict[str, list[str]]:
    """The documents, a row each, of ``train`` and where it has them of ``validation`` and ``test``.

    Raises:
        ConfigurationError: it cannot be read, has no part for training, or no texts in ``column``.
    """
    loaded = _load(folder)
    parts = _parts(loaded) if isinstance(loaded, Mapping) else {"train": loaded}
    return {part: _texts(dataset, column) for part, dataset in parts.items()}


def _load(folder: Path) -> Any:
    try:
        from datasets import load_from_disk
    except ImportError:
        message = "datasets of `save_to_disk` need the library `datasets`: pip install 'memsweep[hf]', or use text files"
        raise ConfigurationError([("corpus", message)]) from None
    try:
        return load_from_disk(str(folder))
    except Exception as error:  # whatever the library makes of damaged files
        raise ConfigurationError([("corpus", f"{folder.name} cannot be read as a dataset: {error}")]) from error


def _parts(datasets: Mapping[str, Any]) -> dict[str, Any]:
    named = {part: next((datasets[name] for name in names if name in datasets), None) for part, names in PARTS.items()}
    if named["train"] is None:
        has = ", ".join(datasets) or "nothing"
        raise ConfigurationError([("corpus", f"the dataset has no part called train, it has {has}: name the one to train on so")])
    return {part: dataset for part, dataset in named.items() if dataset is not None}


def _texts(dataset: Any, column: str) -> list[str]:
    if column not in dataset.column_names:
        has = ", ".join(dataset.column_names) or "none"
        raise ConfigurationError([("text_column", f"the dataset has no column {column!r}, it has {has}: name that of the texts")])
    texts = list(dataset[column])
    wrong = next((place for place, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        kind = type(texts[wrong]).__name__
        raise ConfigurationError(
            [("text_column", f"column {column!r} has no text in row {wrong} but {kind}: name that of the texts")]
        )
    return texts
