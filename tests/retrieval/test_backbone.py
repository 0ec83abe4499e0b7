"""A pretrained model as the base: copied by the driver, then like any other base."""

from pathlib import Path
from typing import Any

import pytest
import torch
from retrieval_runs import CPU, TASK, request, started

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.language import TokenBatch, target_log_probabilities
from trainables.prepared import prepare_data
from trainables.registry import architectures, tasks
from trainables.retrieval.base_fields import BASE as FIELDS
from trainables.stages import StageContext, make_stages, stages_of

transformers = pytest.importorskip("transformers")
REFERENCE = "tiny#sha256=0123456789abcdef"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "tiny"
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=257, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    return path


def _model(folder: Path) -> dict[str, Any]:
    return {"base": {"backbone": REFERENCE, **FIELDS.describe_file("backbone", folder)}, "n_neighbors": 4, "knn_weight": 0.5}


def test_it_is_copied_where_it_lies_and_used_everywhere_else(folder: Path, tmp_path: Path) -> None:
    run = request(tmp_path, model=_model(folder)).resolved()
    data = prepare_data(tmp_path, run.task_type, run.task)
    base, *_ = stages_of(run.architecture, run.model, run.task_type, run.task)
    assert base.reads_files and "config" not in base.values
    with pytest.raises(FileNotFoundError, match="the driver that copies"):
        make_stages([base], StageContext(tmp_path, data, CPU))
    make_stages([base], StageContext(tmp_path, data, CPU, files={REFERENCE: folder}))
    session = started(tmp_path, model=_model(folder))
    ids = torch.randint(0, 257, (2, 32), generator=torch.Generator().manual_seed(0))
    original = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    batch = TokenBatch(ids, ids, torch.zeros_like(ids), torch.arange(32).expand(2, 32), ids >= 0, "test")
    with torch.no_grad():
        expected = original(input_ids=ids).logits.log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        alone = session.module.base_target_log_probabilities(batch)
        assert not torch.equal(target_log_probabilities(session.module, batch), alone)
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-5)
    counted = architectures()["knn_lm"].count(run.model, run.task).by_scope()
    assert counted == measure_counts(session.module).by_scope()
    assert session.step().metrics["datastore/mib"] == pytest.approx(2048 * (16 * 2 + 4) / 2**20)


def test_a_backbone_that_does_not_fit_the_task_is_refused(folder: Path, tmp_path: Path) -> None:
    for changed in ({"vocab_size": 300}, {"input_seq_len": 64}):
        with pytest.raises(ConfigurationError, match="the base does not fit the task"):
            request(tmp_path, model=_model(folder), task={**TASK, **changed}).resolved()


def test_its_name_does_not_decide_what_is_shared(folder: Path) -> None:
    task_type = tasks()["language_modeling"]
    task, knn_lm = task_type.configuration_type.from_values(TASK), architectures()["knn_lm"]
    values = []
    for name in ("here", "there"):
        base = {**_model(folder)["base"], "backbone": REFERENCE.replace("tiny", name)}
        model = knn_lm.configuration.from_values({**_model(folder), "base": base})
        values.append([stage.values for stage in stages_of(knn_lm, model, task_type, task)])
    assert values[0] == values[1]


def test_what_does_not_fit_is_told_exactly_before_anything_starts(folder: Path) -> None:
    task_type, knn_lm = tasks()["language_modeling"], architectures()["knn_lm"]
    model = knn_lm.configuration.from_values(_model(folder))
    knn_lm.inspect(model, task_type.configuration_type.from_values(TASK))
    for changed, told in (
        ({"vocab_size": 300}, "the tokenizer has 300 tokens and the model 257: use the tokenizer of the model"),
        ({"input_seq_len": 64}, "the model has 32 positions and task.input_seq_len is 64: set it to at most 32"),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            knn_lm.inspect(model, task_type.configuration_type.from_values({**TASK, **changed}))
        assert refusal.value.problems == [("base.backbone", told)]
