"""An architecture around another model, small enough for tests of everything that reads search spaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter, hyperparameter
from trainables.counts import ParameterCounts
from trainables.files import identity

_FIELDS = (
    Hyperparameter(name="dim", type=int, default=8, meaning="width", minimum=1),
    Hyperparameter(name="pos", type=Literal["rope", "none"], default="rope", meaning="position information"),
    Hyperparameter(name="backbone", type=str | None, default=None, meaning="a folder", file=True, folder=True, names=("tiny",)),
    Hyperparameter(name="training.lr", type=float, default=0.5, meaning="learning rate", above=0),
    Hyperparameter(name="training.epochs", type=int, default=2, meaning="passes", minimum=0),
)


class Base:
    """A model with a width, a training and perhaps a folder, whose ``config.json`` says the width."""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Hyperparameter]:
        if values.get("family", "plain") != "plain":
            raise ConfigurationError([("family", "must be plain")])
        family = Hyperparameter(name="family", type=Literal["plain"], default="plain", meaning="the only family")
        return {"family": family, **{field.name: field for field in _FIELDS}}

    def read(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        if values.get("dim") == 13:
            raise ConfigurationError([("dim", "must not be 13"), ("training.lr", "goes badly with 13"), (None, "bad luck")])
        return dict(values)

    def identity(self, values: Mapping[str, Any]) -> Any:
        training = {"lr": 0.5, "epochs": 2, **values.get("training", {})}
        backbone = values.get("backbone")
        return {
            "dim": values.get("dim", 8),
            "pos": values.get("pos", "rope"),
            "training": training,
            "backbone": backbone and identity(backbone),
        }

    def describe_file(self, field: str, path: Path) -> Mapping[str, Any]:
        try:
            return {"config": json.loads((path / "config.json").read_text())}
        except ValueError as error:
            raise ConfigurationError([(field, f"config.json is no JSON: {error}")]) from error


BASE = Base()


@dataclass(frozen=True, kw_only=True)
class AroundConfiguration(Configuration):
    base: dict[str, Any] = hyperparameter({"dim": 8}, "the base model", nested=BASE)
    k: int = hyperparameter(4, "neighbours", minimum=1)
    notes: str | None = hyperparameter(None, "a file", file=True)


def width(base: Mapping[str, Any]) -> int:
    return int(base.get("config", base).get("dim", 8))


class Around(nn.Module):
    """A model around another one."""

    def __init__(self, model: AroundConfiguration, task: Any) -> None:
        super().__init__()
        self.blocks = nn.Linear(width(model.base), model.k, bias=False)


def around(**more: Any) -> Architecture:
    """The architecture ``around``, to be registered for the time of a test."""
    return Architecture(
        name="around",
        summary="A model around another one.",
        kind="tokens",
        configuration=AroundConfiguration,
        build=Around,
        count=lambda model, task: ParameterCounts(block=width(model.base) * model.k),
        activation_elements=lambda model, task: model.k,
        **more,
    )
