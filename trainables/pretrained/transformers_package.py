"""The ``transformers`` library: loaded where it is needed, and quiet."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def transformers_library() -> Any:
    """The package ``transformers``, imported when first asked for: it takes a second and is an extra.

    Raises:
        ModuleNotFoundError: it is not installed; the text says how to.
    """
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ModuleNotFoundError(
            "a Hugging Face model needs the package transformers: pip install 'memsweep[hf]'", name="transformers"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars and warnings of transformers, whose settings are put back afterwards."""
    transformers_library()
    logging = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
