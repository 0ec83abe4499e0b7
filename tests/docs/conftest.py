"""The architecture of the worked example, registered for each test of the documents and for no other."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from documents import ROOT, blocks

from trainables import registry
from trainables.architecture import Architecture

EXAMPLE = "moving_average"


@pytest.fixture(scope="session")
def example_module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The code block of ``docs/adding_an_architecture.md``, imported from a file of its own."""
    code = next(block.text for block in blocks(ROOT / "docs/adding_an_architecture.md") if block.language == "python")
    path = tmp_path_factory.mktemp("worked_example") / f"{EXAMPLE}.py"
    path.write_text(code)
    return _imported(path)


def _imported(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"worked_example_{path.stem}", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Dataclasses and type hints look their module up.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def example_architecture(example_module: ModuleType) -> Architecture:
    """What the file registered, taken out of the registry again."""
    return registry.architectures().pop(EXAMPLE)


@pytest.fixture(autouse=True)
def example(example_architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    monkeypatch.setitem(registry.architectures(), EXAMPLE, example_architecture)
    return example_architecture
