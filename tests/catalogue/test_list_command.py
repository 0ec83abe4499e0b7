"""``memsweep list``: everything that is registered, for people and as one JSON document."""

from __future__ import annotations

import json

import pytest

from orchestrator.catalogue import list_catalogue
from orchestrator.catalogue.available import available_architectures, available_tasks
from orchestrator.catalogue.tables import shown_range
from trainables.registry import RESERVED_ARCHITECTURES, RESERVED_TASKS, architectures


def test_the_json_document_has_every_hyperparameter_with_type_default_range_and_meaning(memsweep):
    result = memsweep("list", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert list(document) == ["architectures", "tasks", "sections", "not_available_yet"]
    assert document["architectures"]["gpt"]["hyperparameters"]["rope_theta"] == {
        **{"type": "float", "default": 10000.0, "range": {"above": 1}},
        "meaning": "base of the rotary wavelengths",
    }
    for name, architecture in available_architectures().items():
        assert list(document["architectures"][name]["hyperparameters"]) == list(architecture.configuration.hyperparameters())
    for name, task in available_tasks().items():
        assert list(document["tasks"][name]["hyperparameters"]) == list(task.configuration_type.hyperparameters())


def test_sections_are_listed_too():
    sections = list_catalogue()["sections"]
    assert sections["training"]["hyperparameters"]["lr"]["range"] == {"above": 0}
    assert sections["constraints.params"]["hyperparameters"]["tolerance"]["range"] == {"minimum": 0, "maximum": 1}
    assert {"objective", "search", "scheduler", "resources", "checkpoints", "tracking"} < set(sections)


def test_every_promised_name_is_either_listed_or_told_as_not_available_yet():
    document = list_catalogue()
    for group, promised in (("architectures", RESERVED_ARCHITECTURES), ("tasks", RESERVED_TASKS)):
        absent = document["not_available_yet"][group]
        assert set(document[group]).isdisjoint(absent)
        assert set(promised) <= set(document[group]) | set(absent)


def test_the_order_does_not_depend_on_what_was_imported_first(monkeypatch):
    backwards = dict(reversed(architectures().items()))
    expected = list(available_architectures())
    monkeypatch.setattr("orchestrator.catalogue.available.architectures", lambda: backwards)
    assert list(available_architectures()) == expected


def test_the_tables_fit_80_columns_and_cut_no_name(memsweep):
    result = memsweep("list")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout
    words = set(result.stdout.split())
    for described in [*list_catalogue()["architectures"].values(), *list_catalogue()["sections"].values()]:
        assert words >= set(described["hyperparameters"])


def test_names_that_are_reserved_are_shown_in_one_paragraph(memsweep, monkeypatch):
    monkeypatch.setattr("orchestrator.catalogue.available.RESERVED_ARCHITECTURES", ("gpt", "promised"))
    assert "Reserved, not available yet: promised\n" in memsweep("list").stdout.replace(" \n", "\n")


@pytest.mark.parametrize(
    ("bounds", "shown"),
    [({"minimum": 1}, "(>= 1)"), ({"above": 0, "maximum": 1}, "(> 0, <= 1)"), ({"maximum": 0.5}, "(<= 0.5)"), ({}, "")],
)
def test_ranges_read_as_inequalities(bounds, shown):
    assert shown_range(bounds) == shown
