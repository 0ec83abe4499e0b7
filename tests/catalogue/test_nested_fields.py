"""Fields that describe another model, and file fields with names of their own: in the list, the counts and the schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from nested_model import AroundConfiguration, around

from orchestrator.catalogue import CountError, count_configuration, list_catalogue, search_space_schema
from orchestrator.catalogue.listing import _hyperparameter
from trainables import registry


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.architectures(), "around", around())


def counted(*assignments: str) -> dict[str, Any]:
    report = count_configuration("around", assignments)
    return {**report.params, **report.config}


def test_one_value_of_a_nested_model_is_changed_over_its_default() -> None:
    assert counted("k=2")["block"] == 8 * 2
    found = counted("base.dim=1k", "base.training.lr=1", "k=2")
    assert found["block"] == 2000 and found["base"] == {"dim": 1000, "training": {"lr": 1.0}}
    assert counted("base={pos: none}", "base.dim=4", "k=2")["base"] == {"pos": "none", "dim": 4}


def test_a_folder_of_a_nested_model_is_described(tmp_path: Path) -> None:
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps({"dim": 5}))
    found = counted(f"base={{backbone: {tmp_path / 'gpt2'}}}", "k=3")
    assert found["block"] == 15 and found["base"]["backbone"].startswith("gpt2#sha256=")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("base.dmi=3", "unknown field of `base` `dmi`: did you mean `dim`?"),
        ("base.dim=0", "`base.dim` must be at least 1, got 0: width"),
        ("base.dim.x=1", "`base.dim` expected a whole number"),
        ("base=7", "`base` expected a mapping, got 7"),
        ("base={dim: {int: [1, 2]}}", "made once for all trials"),
        ("base.backbone=tniy", "did you mean `tiny`?"),
    ],
)
def test_a_mistake_is_told(assignment: str, message: str) -> None:
    with pytest.raises(CountError, match=re.escape(message)):
        counted(assignment)


def test_the_list_tells_what_may_stand_in_it() -> None:
    described = list_catalogue()["architectures"]["around"]["hyperparameters"]["base"]
    assert described["type"] == "mapping" and described["default"] == {"dim": 8}
    assert described["fields"]["dim"] == {"type": "int", "default": 8, "range": {"minimum": 1}, "meaning": "width"}
    assert described["fields"]["backbone"]["type"] == "tiny or file or folder or null"
    assert _hyperparameter(AroundConfiguration.hyperparameters()["notes"])["type"] == "file or null"


def problems(base: Any) -> list[str]:
    document = {"task": "mqar", "architectures": {"around": {"base": base}}}
    return [error.message for error in Draft202012Validator(search_space_schema()).iter_errors(document)]


def test_the_schema_takes_what_the_reader_takes() -> None:
    accepted: list[Any] = [{}, {"dim": 8}, {"dim": "4k", "training": {"lr": 0.1}}, {"family": "plain", "backbone": "tiny"}]
    for base in [*accepted, {"choice": accepted}, {"grid": accepted}]:
        assert problems(base) == [], base
    for base in (7, "${k}", {"dim": 0}, {"dim": "wide"}, {"training": {"lr": 0}}, {"training": 3}, {"pos": "roqe"}):
        assert problems(base), base


def test_a_field_without_a_default_model_is_listed() -> None:
    field = replace(AroundConfiguration.hyperparameters()["base"], default=None, type=dict[str, Any] | None)
    assert "dim" in _hyperparameter(field)["fields"]
