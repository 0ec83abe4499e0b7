"""The ``config.json`` of a model folder: read, cleaned of what does not describe the model, and turned into a model class."""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.pretrained.transformers_package import quiet, transformers_library

CONFIG_FILE = "config.json"

_FLOAT = "__float__"
"""How transformers writes numbers that JSON has not, such as ``{"__float__": "Infinity"}``."""

_NOT_THE_MODEL = frozenset(
    # Where it came from, what it was stored in, and what would load other code or other files.
    ("auto_map", "distributed_config", "dtype", "fusion_config", "torch_dtype", "transformers_version", "transformers_weights")
)


def described_model(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says of the model.

    Raises:
        ValueError: it is missing, is no JSON object, or tells of no model that can be a base.
    """
    file = folder / CONFIG_FILE
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: name the folder that save_pretrained wrote")
    if not file.is_file():
        raise ValueError(f"{folder} is not a model folder: it has no {CONFIG_FILE}; name the folder that save_pretrained wrote")
    try:
        values = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda name: {_FLOAT: name})
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}): save the model again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} is not a JSON object: save the model again")
    try:
        require_causal(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return of_the_model(values)


def require_causal(config: Mapping[str, Any]) -> None:
    """Raises ValueError unless ``config`` describes an unquantised causal language model that transformers knows."""
    causal, masked = _names("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"), _names("MODEL_FOR_MASKED_LM_MAPPING_NAMES")
    model_type, classes = config.get("model_type"), config.get("architectures")
    if not isinstance(model_type, str) or model_type not in transformers_library().CONFIG_MAPPING:
        raise ValueError(_unknown_type(model_type, tuple(causal)))
    if isinstance(classes, list) and classes and causal.get(model_type) not in classes:
        raise ValueError(f"{', '.join(map(str, classes))} is not a causal language model: take one, such as a gpt2 or a llama")
    if model_type not in causal or (model_type in masked and not config.get("is_decoder", False)):
        raise ValueError(f"a {model_type} is not a causal language model: take one, such as a gpt2 or a llama")
    if config.get("quantization_config"):
        raise ValueError("the weights are quantised: take the model as it was before, its computations are in float32")


def causal_configuration(config: Mapping[str, Any]) -> Any:
    """The configuration object of transformers, of the class that ``model_type`` names.

    Raises:
        ValueError: no such type, or values that the class refuses.
    """
    require_causal(config)
    values = {name: _with_floats(value) for name, value in of_the_model(config).items()}
    with quiet():
        try:
            return transformers_library().CONFIG_MAPPING[config["model_type"]].from_dict(values)
        except Exception as error:  # each class has checks, and errors, of its own
            raise ValueError(refusal(config["model_type"], error)) from error


def refusal(model_type: str, error: Exception) -> str:
    """What is said where transformers refuses the values of a configuration."""
    reason = " ".join(str(error).split())
    return f"a {model_type} cannot be made from these values ({reason}): correct them, or save the model again"


def known_keys(model_type: str) -> frozenset[str]:
    """The values that the configuration of a model type has."""
    kind = transformers_library().CONFIG_MAPPING[model_type]
    with quiet():
        return frozenset({*kind().to_dict(), *kind.attribute_map, "rope_theta", "rope_scaling"})


def of_the_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What describes the model, without where it came from and how it was stored."""
    return {name: value for name, value in config.items() if not name.startswith("_") and name not in _NOT_THE_MODEL}


def _with_floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    if isinstance(value, Mapping):
        if set(value) == {_FLOAT} and value[_FLOAT] in ("Infinity", "-Infinity", "NaN"):
            return float(value[_FLOAT])
        return {name: _with_floats(item) for name, item in value.items()}
    return value


def _names(mapping: str) -> Mapping[str, str]:
    transformers_library()
    names: Mapping[str, str] = getattr(importlib.import_module("transformers.models.auto.modeling_auto"), mapping)
    return names


def _unknown_type(model_type: object, known: tuple[str, ...]) -> str:
    if not isinstance(model_type, str):
        return "it names no model_type, so it is no model's: name the folder that save_pretrained wrote"
    near = difflib.get_close_matches(model_type[:64], known, n=1)
    cure = f"did you mean {near[0]!r}?" if near else "it may need a newer transformers; code that comes with a model is not run"
    return f"model_type {model_type[:64]!r} is not known: {cure}"
