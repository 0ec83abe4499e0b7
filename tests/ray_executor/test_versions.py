"""Libraries that are too old are refused by name, with the cure."""

from importlib.metadata import version

import pytest

from orchestrator.ray_executor import versions
from orchestrator.ray_executor.versions import UnsupportedLibrary, refuse_old_libraries


def test_what_is_installed_is_accepted() -> None:
    refuse_old_libraries()


@pytest.mark.parametrize(("library", "old"), [("ray", "2.51.9"), ("torch", "2.5.1+cu124"), ("ray", "2.9.3")])
def test_an_old_one_is_refused(library: str, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda name: old if name == library else version(name))
    with pytest.raises(UnsupportedLibrary) as refused:
        refuse_old_libraries()
    assert f"{library} {old}" in str(refused.value) and "pip install" in str(refused.value)


def test_the_oldest_ones_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda name: {"ray": "2.52.0", "torch": "2.6.0+cpu"}[name])
    refuse_old_libraries()
