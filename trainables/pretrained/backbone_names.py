"""What backbones are called where people read: the name of a shape or a folder, or a configuration's type and size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainables.files import split_reference
from trainables.fingerprint import fingerprint

_WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_DIGITS = 6


def is_backbone(value: Any) -> bool:
    """Whether a value of a configuration is a mapping that describes a backbone."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("config"), Mapping)
        and value.keys() <= {"folder", "config", "pretraining"}
    )


def backbone_name(value: str | Mapping[str, Any]) -> str:
    """``qwen2-0.5b`` for a shape, a folder's name, ``llama-64x2`` (type, width, layers) for a configuration."""
    if isinstance(value, str):
        return value
    if "folder" in value:
        return split_reference(str(value["folder"]))[0]
    config = value["config"]
    size = "x".join(str(size) for names in (_WIDTHS, _LAYERS) if (size := _first(config, names)) is not None)
    return "-".join(part for part in (str(config.get("model_type", "backbone")), size) if part)


def backbone_names(values: Iterable[str | Mapping[str, Any]]) -> list[str]:
    """The name of each; with six digits behind it where another one of them is called the same (a shape keeps its name)."""
    listed = list(values)
    names = [backbone_name(value) for value in listed]
    alike = Counter(name for name, _ in {(name, backbone_key(value)) for name, value in zip(names, listed, strict=True)})
    return [
        name if alike[name] == 1 or isinstance(value, str) else f"{name}@{_digits(value)}"
        for name, value in zip(names, listed, strict=True)
    ]


def backbone_key(value: str | Mapping[str, Any]) -> str:
    """Equal for equal values alone."""
    return fingerprint({"backbone": value})


def _digits(value: Mapping[str, Any]) -> str:
    """Of a folder those of its content."""
    digest = split_reference(str(value["folder"]))[1] if "folder" in value else None
    return (digest or backbone_key(value))[:_DIGITS]


def _first(config: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((config[name] for name in names if name in config), None)
