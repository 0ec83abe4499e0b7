"""Every YAML block in the documents is a search space, or a part of one, that passes ``check``; and so do the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, ROOT, WITH_MISTAKES, Block, all_blocks, table_rows
from named_models import write_classification_data, write_model, write_token_ids, write_tokenizer

from orchestrator.check import check_feasibility
from orchestrator.document import SearchSpaceError
from orchestrator.outcome import OUTCOMES
from orchestrator.plan import make_plan, render_plan
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification

SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))
REST = {
    "task": {"name": "mqar"},
    "model": {"dim": 64},
    "architectures": {"gpt": {}, "delta_net": {}, "unified_kv": {}},
}
"""What is added to a block that shows only a part of a search space."""

right = [block for block in all_blocks("yaml") if WITH_MISTAKES not in block.marks]
wrong = [block for block in all_blocks("yaml") if WITH_MISTAKES in block.marks]


def _named(block: Block) -> str:
    return block.place


def _whole(block: Block) -> str:
    """The block itself where it is a whole search space, else with the rest added."""
    parts = yaml.safe_load(block.text)
    missing = {key: value for key, value in REST.items() if key not in parts}
    if not {"task", "architectures"} & missing.keys():
        return block.text
    return block.text + yaml.safe_dump(missing)


def _checked(path: Path) -> SweepSpecification:
    specification = read_search_space(path)
    _, diagnostics = check_feasibility(specification)
    diagnostics.raise_if_any(specification.source)
    return specification


@pytest.fixture(scope="module")
def named_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the documents name: a CSV, texts, a tokenizer, models with theirs, token ids and rows."""
    folder = tmp_path_factory.mktemp("named")
    rows = [f"{step / 10},{step % 7},{step % 5}" for step in range(300)]
    (folder / "measured.csv").write_text("\n".join(["time,level,flow", *rows]) + "\n")
    (folder / "texts").mkdir()
    for number in range(30):
        (folder / f"texts/{number}.txt").write_text(" ".join(f"w{place}" for place in range(7000)))
    write_tokenizer(folder / "tokenizer.json", 8000)
    for name, size in (("gpt2", 50257), ("qwen2", 151936), ("llama", 32000)):
        write_model(folder / "models" / name, name, size)
    write_token_ids(folder / "data/openwebtext", 2000)
    write_classification_data(folder / "data/six_tasks")
    return folder


@pytest.mark.parametrize("block", right, ids=_named)
def test_every_documented_search_space_passes_check(block: Block, named_files: Path) -> None:
    path = named_files / "space.yaml"
    path.write_text(_whole(block))
    _checked(path)


@pytest.mark.parametrize("block", wrong, ids=_named)
def test_every_documented_mistake_is_one(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(block.text)
    with pytest.raises(SearchSpaceError):
        _checked(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_search_space_passes_check_and_plan(path: Path) -> None:
    assert path.read_text().startswith("# yaml-language-server: $schema=./schema.json\n")
    specification = _checked(path)
    checks, _ = check_feasibility(specification)
    assert path.stem.replace("_", "-") == specification.name
    assert f"{specification.name}: " in render_plan(specification, checks, make_plan(specification))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_search_space_is_described(path: Path) -> None:
    assert any(f"search_spaces/{path.name}" in document.read_text() for document in DOCUMENTS)
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(comment) > 1


PUBLISHED = {
    "gpt": {"n_layers": 4, "n_heads": 2, "dk": 48, "dv": 48},
    "unified_kv": {"n_layers": 4, "n_heads": 2, "du": 64},
    "delta_net": {"n_layers": 4, "n_heads": 2, "dk": 44, "dv": 48},
}


@pytest.mark.parametrize("entry", PUBLISHED)
def test_the_published_configurations_lie_inside_the_parameter_matched_space(entry: str) -> None:
    specification = read_search_space(ROOT / "search_spaces/mqar_parameter_matched.yaml")
    space = next(space for space in specification.spaces if space.name == entry)
    assert space.is_feasible({**PUBLISHED[entry], "training.lr": 1e-3})


def test_the_larger_delta_net_lies_outside() -> None:
    specification = read_search_space(ROOT / "search_spaces/mqar_parameter_matched.yaml")
    space = next(space for space in specification.spaces if space.name == "delta_net")
    assert not space.is_feasible({**PUBLISHED["delta_net"], "dk": 48, "training.lr": 1e-3})


def test_the_quickstart_in_the_readme_is_the_shipped_one() -> None:
    shipped = yaml.safe_load((ROOT / "search_spaces/quickstart.yaml").read_text())
    shown = [yaml.safe_load(block.text) for block in right if block.document.name == "README.md"]
    assert shipped in shown


def test_the_table_of_outcomes_is_that_of_the_code() -> None:
    rows = {row[0].strip("`"): row for row in table_rows(ROOT / "docs/search_spaces.md")}
    for outcome in OUTCOMES.values():
        _, _, told, status, counts = rows[outcome.name]
        assert told.startswith(outcome.sampler_state or "nothing")
        assert (f"`{outcome.constraint}`" in told) is (outcome.constraint is not None)
        assert status == outcome.mlflow_status
        assert counts == ("yes" if outcome.counts else "no")
