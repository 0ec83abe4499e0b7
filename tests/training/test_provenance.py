"""What a run says about where its numbers come from."""

import platform
from pathlib import Path

import torch
from small_runs import CPU, small_request, started

import trainables
from trainables.prepared import data_digest
from trainables.training.provenance import code_digest, provenance


def test_every_key_is_there_and_every_value_is_text(tmp_path: Path) -> None:
    session = started(small_request(tmp_path))
    assert session.prepared is not None
    found = provenance(session.prepared, CPU)
    assert set(found) == {"memsweep", "code", "data", "torch", "python", "device", "threads"}
    assert all(isinstance(value, str) for value in found.values())
    assert found["data"] == data_digest(session.prepared) and len(found["data"]) == 16
    assert (found["torch"], found["python"]) == (torch.__version__, platform.python_version())
    assert (found["device"], found["threads"]) == ("cpu", str(torch.get_num_threads()))
    assert found["code"] == code_digest(Path(trainables.__path__[0]))


def test_a_task_that_prepares_nothing_has_no_data(tmp_path: Path) -> None:
    assert provenance(None, CPU)["data"] == ""


def test_data_of_other_values_are_other_data(tmp_path: Path) -> None:
    folders = [started(small_request(tmp_path, task_values={"seed": seed})).prepared for seed in (0, 1)]
    assert len({provenance(folder, CPU)["data"] for folder in folders}) == 2
    again = started(small_request(tmp_path / "elsewhere")).prepared
    assert provenance(again, CPU)["data"] == provenance(folders[0], CPU)["data"]


def test_the_code_digest_sees_every_source_and_nothing_else(tmp_path: Path) -> None:
    def package(name: str, **files: str) -> Path:
        for file, content in {"__init__.py": "", "a.py": "x = 1", **files}.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path / name

    plain = code_digest(package("plain"))
    assert len(plain) == 16 and plain == code_digest(package("cached", **{"__pycache__/a.pyc": "x", "notes.txt": "x"}))
    changed = [
        package("changed", **{"a.py": "x = 2"}),
        package("more", **{"b.py": ""}),
        package("deeper", **{"b/c.py": ""}),
        package("shifted", **{"__init__.py": "x = 1", "a.py": ""}),
    ]
    assert len({plain, *map(code_digest, changed)}) == 5
