"""The mapping that describes a base model: one of our architectures and its training, or a folder with a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter
from trainables.files import identity
from trainables.layers.token_model import TokenModel
from trainables.nested_values import converted_fields
from trainables.training.configuration import TrainingConfiguration, training_values

TASK = "language_modeling"
"""The task that base models are trained on."""
_TRAINING = "training"


def base_architectures() -> dict[str, Architecture]:
    """Those whose modules are plain models over tokens, by name."""
    from trainables import registry

    return {name: found for name, found in sorted(registry.architectures().items()) if _is_plain(found)}


def _is_plain(architecture: Architecture) -> bool:
    module = architecture.build
    plain = isinstance(module, type) and issubclass(module, TokenModel)
    return plain and not hasattr(module, "target_log_probabilities") and not hasattr(module, "stages")


class BaseFields:
    """Reads, describes and identifies the mappings of a field ``base``."""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Hyperparameter]:
        """Of an architecture its fields, ``seed`` and ``training.…``; of a backbone nothing besides."""
        if "backbone" in values:
            return {"backbone": _BACKBONE}
        architecture = _architecture(values)
        seed = Hyperparameter(name="seed", type=int, default=0, meaning="seed of the base's weights and batches", minimum=0)
        training = TrainingConfiguration.hyperparameters()
        defaults = _training({})
        return {
            "architecture": _architecture_field(),
            **architecture.configuration.hyperparameters(),
            **{f"{_TRAINING}.{name}": replace(field, default=defaults[name]) for name, field in training.items()},
            "seed": seed,
        }

    def read(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is written, in final types."""
        if "backbone" in values:
            return _read_backbone(values)
        architecture, fields = _architecture(values), self.fields(values)
        training = values.get(_TRAINING, {})
        if not isinstance(training, Mapping):
            raise ConfigurationError([(_TRAINING, f"expected a mapping, got {training!r}")])
        nested = {f"{_TRAINING}.{name}": value for name, value in training.items()}
        written = {**{name: value for name, value in values.items() if name != _TRAINING}, **nested}
        flat = converted_fields(written, fields)
        model = architecture.configuration.from_values(_model_values(flat))
        if not getattr(model, "use_ffn", True):
            raise ConfigurationError([("use_ffn", "keys are taken at the last feed-forward layer: set use_ffn: true")])
        read = {name: value for name, value in flat.items() if not name.startswith(f"{_TRAINING}.")}
        inner = {name.removeprefix(f"{_TRAINING}."): value for name, value in flat.items() if name.startswith(f"{_TRAINING}.")}
        return {**read, _TRAINING: inner} if _TRAINING in values else read

    def identity(self, values: Mapping[str, Any]) -> Any:
        """Defaults filled in; of a backbone the content of its files."""
        if "backbone" in values:
            return {"backbone": identity(str(values["backbone"]))}
        architecture, model = base_model(values)
        training = TrainingConfiguration.from_values(_training(values)).identity_values()
        return {
            "architecture": architecture.name,
            "model": model.identity_values(),
            "training": training,
            "seed": values.get("seed", 0),
        }

    def describe_file(self, field: str, path: Path) -> Mapping[str, Any]:
        """Of a backbone the ``config`` that its folder holds."""
        from trainables.pretrained.folder import read_config

        try:
            return {"config": read_config(path, gives_keys=True)}
        except (ValueError, ModuleNotFoundError) as error:
            raise ConfigurationError([(field, str(error))]) from error


def base_model(values: Mapping[str, Any]) -> tuple[Architecture, Configuration]:
    """Of a mapping with an ``architecture`` that architecture and its configuration."""
    architecture = _architecture(values)
    return architecture, architecture.configuration.from_values(_model_values(values))


def _model_values(values: Mapping[str, Any]) -> dict[str, Any]:
    others = ("architecture", "seed", _TRAINING)
    return {name: value for name, value in values.items() if name not in others and not name.startswith(f"{_TRAINING}.")}


def _training(values: Mapping[str, Any]) -> dict[str, Any]:
    from trainables import registry

    return training_values(registry.tasks()[TASK], values.get(_TRAINING, {}))


def _architecture(values: Mapping[str, Any]) -> Architecture:
    known = base_architectures()
    if "architecture" not in values:
        raise ConfigurationError(
            [
                (
                    None,
                    f"name an architecture ({', '.join(known)}), which is trained here, or a backbone: the folder of a causal "
                    "language model of Hugging Face transformers",
                )
            ]
        )
    name = values["architecture"]
    if not isinstance(name, str) or name not in known:
        raise ConfigurationError([("architecture", f"expected one of {', '.join(known)}, got {name!r}")])
    return known[name]


def _architecture_field() -> Hyperparameter:
    names = Literal[tuple(base_architectures())]  # type: ignore[valid-type]
    return Hyperparameter(name="architecture", type=names, default="gpt", meaning="architecture of the base model")


_BACKBONE = Hyperparameter(
    name="backbone",
    type=str,
    default="",
    meaning="folder of a causal language model of Hugging Face transformers: config.json and its weights",
    file=True,
    folder=True,
)


def _read_backbone(values: Mapping[str, Any]) -> dict[str, Any]:
    problems: list[tuple[str | None, str]] = [
        (name, "does not go with a backbone, which is as it was trained: take it away")
        for name in values
        if name not in ("backbone", "config")
    ]
    if not isinstance(values["backbone"], str):
        problems.append(("backbone", f"expected text, got {values['backbone']!r}"))
    if not isinstance(values.get("config", {}), Mapping):
        problems.append(("config", f"expected a mapping, got {values['config']!r}"))
    if problems:
        raise ConfigurationError(problems)
    return dict(values)


BASE = BaseFields()
