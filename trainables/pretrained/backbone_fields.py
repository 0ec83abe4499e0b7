"""The field ``backbone``: a published shape by name, a folder with a pretrained model, or the configuration of one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.configuration import ConfigurationError, Hyperparameter
from trainables.files import identity
from trainables.pretrained.pretraining import PRETRAINING
from trainables.pretrained.shapes import SHAPES

BACKBONE_MEANING = (
    f"a causal language model of Hugging Face transformers: its folder, {{config: {{model_type: …}}}}, or one of "
    f"{', '.join(SHAPES)}; the last two have random weights, unless pretraining stands beside config"
)

_DIMENSIONS = frozenset(("int", "float", "choice", "grid", "list"))

_FOLDER = Hyperparameter(
    name="folder",
    type=str,
    default="",
    meaning="folder of a causal language model: config.json and its weights as safetensors",
    file=True,
    folder=True,
    names=tuple(SHAPES),
)
_CONFIG = Hyperparameter(
    name="config", type=dict, default={}, meaning="configuration of a causal language model, which gets random weights"
)


class BackboneFields:
    """Reads, describes and identifies the mappings of a field ``backbone``; a text that is no shape stands for its folder."""

    text_field = "folder"

    def fields(self, values: Mapping[str, Any]) -> dict[str, Hyperparameter]:
        return {"folder": _FOLDER, "config": _CONFIG, **PRETRAINING.fields()}

    def read(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the values of ``config`` that describe the model alone."""
        unknown = [name for name in values if name not in ("folder", "config", "pretraining")]
        if unknown:
            raise ConfigurationError([(name, "is not a field") for name in unknown])
        if "folder" in values and "pretraining" in values:
            raise ConfigurationError(
                [("pretraining", "does not go with a folder, whose model is as it was trained: take it away")]
            )
        if values.get("folder") in SHAPES:
            raise ConfigurationError([("folder", f"is the name of a shape: write backbone: {values['folder']}")])
        if "config" not in values:
            problem = "give a folder or {config: {model_type: …}}"
            if "folder" in values:
                problem = "the folder's configuration is missing: name it in a search space, or give its config.json as config"
            raise ConfigurationError([(None, problem)])
        pretraining = {"pretraining": PRETRAINING.read(values["pretraining"])} if "pretraining" in values else {}
        return {**values, "config": _checked(values["config"], written="folder" not in values), **pretraining}

    def identity(self, values: Mapping[str, Any]) -> Any:
        """Of a folder the content of its files."""
        if "folder" in values:
            return {"folder": identity(str(values["folder"]))}
        return dict(values)

    def describe_file(self, field: str, path: Path) -> Mapping[str, Any]:
        """The ``config`` that the folder holds."""
        from trainables.pretrained.folder import read_config

        try:
            return {"config": read_config(path)}
        except (ValueError, ModuleNotFoundError) as error:
            raise ConfigurationError([(field, str(error))]) from error


def _checked(config: Any, *, written: bool) -> dict[str, Any]:
    from trainables.pretrained.config import of_the_model
    from trainables.pretrained.model import model_on_meta

    if not isinstance(config, Mapping):
        raise ConfigurationError([("config", f"expected a mapping, got {config!r}")])
    if "model_type" not in config:
        raise ConfigurationError([("config", "name the model_type, such as llama, qwen2 or gpt2")])
    try:
        model_on_meta(of_the_model({name: value for name, value in config.items() if not _is_dimension(value)}))
        problems = _problems(config) if written else []
    except (ValueError, ModuleNotFoundError) as error:
        raise ConfigurationError([("config", str(error))]) from error
    if problems:
        raise ConfigurationError(problems)
    return of_the_model(config)


def _problems(config: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """What transformers would take without a word: names that it does not know, and values that are to be searched."""
    from trainables.pretrained.config import known_keys

    known = known_keys(config["model_type"])
    problems: list[tuple[str | None, str]] = []
    for name, value in config.items():
        if name not in known and name != "model_type":
            near = difflib.get_close_matches(name, known, n=1)
            cure = f"did you mean {near[0]!r}?" if near else "leave it out"
            problems.append((f"config.{name}", f"is nothing that a {config['model_type']} has: {cure}"))
        if _is_dimension(value):
            cure = "search whole ones with backbone: {choice: [{config: …}, …]}"
            problems.append((f"config.{name}", f"cannot be searched, as a backbone is made once: {cure}"))
    return problems


def _is_dimension(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(_DIMENSIONS & value.keys())


BACKBONE = BackboneFields()
