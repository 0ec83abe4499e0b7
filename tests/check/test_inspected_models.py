"""What an architecture says of what lies outside is told where the search space names it, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nested_model import around

from orchestrator.check import check_feasibility
from orchestrator.document import Diagnostic
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification
from trainables import registry
from trainables.configuration import ConfigurationError

Seen = list[tuple[Any, ...]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What is looked at; a width of 99, or notes that hold `wrong`, are mistakes."""
    looked_at: Seen = []

    def inspect(model: Any, task: Any) -> None:
        looked_at.append((model.base, model.k, model.notes, task.vocab_size))
        if model.base.get("dim") == 99:
            raise ConfigurationError([("base.dim", "is not what the store has")])
        if model.notes and "wrong" in Path(model.notes).read_text():
            raise ConfigurationError([("notes", "are wrong")])

    monkeypatch.setitem(registry.architectures(), "around", around(inspect=inspect))
    return looked_at


def specification(folder: Path, entry: str, more: str = "") -> SweepSpecification:
    (folder / "good.txt").write_text("good")
    (folder / "bad.txt").write_text("wrong")
    task = "{name: mqar, vocab_size: 64, input_seq_len: 32, num_kv_pairs: 4}"
    (folder / "space.yaml").write_text(f"task: {task}\narchitectures:\n  around: {entry}\n{more}")
    return read_search_space(folder / "space.yaml")


def found(specified: SweepSpecification) -> list[Diagnostic]:
    return check_feasibility(specified)[1].found


def test_each_combination_of_models_and_files_is_looked_at_once_with_real_paths(seen: Seen, tmp_path: Path) -> None:
    entry = "{base: {choice: [{dim: 8}, {dim: 9}]}, notes: {choice: [good.txt, null]}, k: {int: [2, 6]}}"
    assert found(specification(tmp_path, entry)) == []
    good = str(tmp_path / "good.txt")
    assert sorted(seen, key=str) == sorted([({"dim": dim}, 2, notes, 64) for dim in (8, 9) for notes in (good, None)], key=str)


def test_what_is_wrong_is_told_at_its_field(seen: Seen, tmp_path: Path) -> None:
    (diagnostic,) = found(specification(tmp_path, "{base: {pos: none, dim: 99}}"))
    assert diagnostic.path == "architectures.around.base.dim" and (diagnostic.line, diagnostic.column) == (3, 35)
    assert diagnostic.message == "`base.dim`: is not what the store has"
    (diagnostic,) = found(specification(tmp_path, "{base: {choice: [{dim: 8}, {dim: 99}]}}"))
    assert diagnostic.path == "architectures.around.base"
    (diagnostic,) = found(specification(tmp_path, "{}", "model: {notes: bad.txt}\n"))
    assert diagnostic.path == "model.notes" and diagnostic.message == "`notes` (bad.txt): are wrong"


def test_what_no_trial_can_have_is_not_looked_at(seen: Seen, tmp_path: Path) -> None:
    require = 'constraints: {require: ["k >= 4"]}\n'
    assert found(specification(tmp_path, "{k: {int: [2, 6]}}", require)) == []
    assert [k for _, k, *_ in seen] == [4], "the lower end cannot be had, the middle can"


def test_a_file_that_is_gone_since_is_no_mistake_of_the_space(seen: Seen, tmp_path: Path) -> None:
    specified = specification(tmp_path, "{notes: bad.txt}")
    assert len(found(specified)) == 1
    (tmp_path / "bad.txt").unlink()
    assert found(specified) == []


def test_where_no_trial_can_have_anything_the_lower_ends_are_looked_at_all_the_same(seen: Seen, tmp_path: Path) -> None:
    require = 'constraints: {require: ["k >= 40"]}\n'
    (diagnostic,) = found(specification(tmp_path, "{k: {int: [2, 6]}}", require))
    assert diagnostic.message == "no structure of `around` meets its rules"
    assert [k for _, k, *_ in seen] == [2], "so that what makes it impossible can be told"


def test_a_fault_of_a_model_is_not_put_down_to_a_file_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    for name in ("train.bin", "val.bin"):
        (tmp_path / "ids" / name).write_bytes(bytes(400))
    config = "{model_type: gpt2, vocab_size: 9, n_embd: 8, n_layer: 1, n_head: 1}"
    task = "{name: segment_lm, tokens: ids, vocab_size: 9, train_length: 32, val_length: 64, n_segments: 2}"
    entry = f"{{backbone: {{config: {config}}}, target_modules: [q_proj]}}"
    (tmp_path / "space.yaml").write_text(f"task: {task}\narchitectures:\n  lora_attn: {entry}\n")
    messages = [diagnostic.message for diagnostic in found(read_search_space(tmp_path / "space.yaml"))]
    assert any(message.startswith("`target_modules`: a gpt2 has no q_proj") for message in messages), messages
