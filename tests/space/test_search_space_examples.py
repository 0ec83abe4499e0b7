"""Sweeps that users will write: what is available parses and is counted; of the others nothing but that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.document import SearchSpaceError
from orchestrator.space.reading import read_search_space, read_search_space_text
from orchestrator.space.structures import find_feasible
from trainables.registry import architectures, tasks

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))
MATCHED = next(path for path in EXAMPLES if path.stem == "mqar_parameter_matched")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_refused_for_nothing_but_what_is_not_available_yet(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "y_w.csv").write_text("time,value\n0,1\n1,2\n")
    for folder in ("wikitext-2", "openwebtext", "six_tasks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text.txt").write_text("some text")
    monkeypatch.chdir(tmp_path)
    # Of a model's folder its shape, of data at absolute paths what lies here.
    text = path.read_text().replace("/models/", "").replace("/data/", "")
    try:
        specification = read_search_space_text(text, str(path))
    except SearchSpaceError as error:
        assert all("is not available yet" in d.message for d in error.diagnostics), str(error)
        return
    assert specification.task_type.name in tasks()
    assert {entry.architecture for entry in specification.entries} <= set(architectures())


def test_the_parameter_matched_sweep_has_its_known_numbers_of_structures() -> None:
    spaces = read_search_space(MATCHED).spaces
    found = {space.name: find_feasible(space) for space in spaces}
    assert {name: structures.feasible for name, structures in found.items()} == {"gpt": 47, "delta_net": 48, "unified_kv": 5}
    assert {name: structures.structures for name, structures in found.items()} == {
        "gpt": 2 * 3 * 23 * 23,
        "delta_net": 2 * 3 * 23 * 23,
        "unified_kv": 2 * 3 * 31,
    }
    assert all(structures.exact for structures in found.values())


def test_a_require_line_holds_for_the_entries_that_have_all_its_names() -> None:
    specification = read_search_space(MATCHED)
    assert specification.require_holds_for == {"dk * n_heads <= 4 * dim": ("gpt", "delta_net")}
    gpt, _, unified = specification.spaces
    assert [c.description for c in gpt.constraints if c.description.startswith("require")] == ["require: dk * n_heads <= 4 * dim"]
    assert not [c for c in unified.constraints if c.description.startswith("require")]
