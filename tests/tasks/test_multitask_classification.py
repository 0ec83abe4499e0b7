"""The task ``multitask_classification``: its configuration, what it measures, and that runs of it work."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multitask_cases import CPU, SMALL, Oracle, Reader, configured, prepared, save_tokenizer

from trainables.configuration import ConfigurationError
from trainables.prepared import prepare_data
from trainables.tasks._multitask.datasets import DATASETS
from trainables.tasks.multitask_classification import MultitaskClassificationTask
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

BOUNDARY = 256


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> MultitaskClassificationTask:
    return prepared(tmp_path_factory.mktemp("data"), max_new_tokens=30, input_seq_len=200)


def told(task: MultitaskClassificationTask, behind: str = "", wrong: tuple[str, ...] = ()) -> Oracle:
    """Knows the answers of all tasks and says ``behind`` after each; of the tasks in ``wrong`` those of the next label."""
    texts = []
    for row in task.validation.rows:
        labels = task.validation.labels[row.task]
        label = labels[(row.label + (row.task in wrong)) % len(labels)]
        texts.append([*row.prompt.tolist(), *label, *behind.encode(), BOUNDARY])
    return Oracle(texts)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_who_knows_the_answers_is_always_right(task: MultitaskClassificationTask, batch_size: int) -> None:
    module = told(task)
    measured = task.evaluate(module, batch_size)
    assert measured["val/loss"] == pytest.approx(0, abs=1e-5)
    assert {value for name, value in measured.items() if name.endswith("acc_rank")} == {1.0}
    final = task.evaluate_finally(module, batch_size)
    assert final["val/acc_exact"] == final["val/acc_prefix"] == final["val/f1_macro"] == final["val/f1_micro"] == 1.0
    assert final["val/unparsed"] == final["val/acc_rank_interval"] == 0.0


def test_text_behind_the_label_makes_it_inexact(task: MultitaskClassificationTask) -> None:
    final = task.evaluate_finally(told(task, behind=" I think"), 64)
    assert final["val/acc_exact"] == 0.0 and final["val/acc_prefix"] == 1.0 and final["val/unparsed"] == 0.0


def test_means_are_over_tasks(task: MultitaskClassificationTask) -> None:
    module = told(task, wrong=("cb", "qnli"))
    measured = task.evaluate(module, 64)
    assert measured["val/acc_rank"] == pytest.approx(4 / 6)
    assert (measured["val/cb/acc_rank"], measured["val/boolq/acc_rank"]) == (0.0, 1.0)
    final = task.evaluate_finally(module, 64)
    assert (final["val/cb/acc_exact"], final["val/acc_exact"]) == (0.0, pytest.approx(4 / 6))
    assert final["val/qnli/acc_prefix"] == 0.0


def test_the_loss_is_the_mean_of_the_tokens_of_true_labels(task: MultitaskClassificationTask) -> None:
    module, nats, count = Reader(), 0.0, 0
    for row in task.validation.rows:
        label = task.validation.labels[row.task][row.label]
        ids = torch.tensor([[*row.prompt.tolist(), *label]])
        found = module.output_head(module.hidden_states(ids[:, :-1])).log_softmax(-1)[0, -len(label) :]
        nats -= found.gather(1, torch.tensor(label).unsqueeze(1)).sum().item()
        count += len(label)
    assert task.evaluate(module, 16)["val/loss"] == pytest.approx(nats / count, rel=1e-4)


def test_the_majority_is_that_of_the_rows_of_evaluation(task: MultitaskClassificationTask) -> None:
    final = task.evaluate_finally(told(task), 64)
    for name in DATASETS:
        labels = [row.label for row in task.validation.rows if row.task == name]
        assert final[f"val/{name}/majority"] == max(np.bincount(labels)) / 5
    assert final["val/majority"] == pytest.approx(np.mean([final[f"val/{name}/majority"] for name in DATASETS]))


def test_all_metrics_that_are_measured_are_declared(task: MultitaskClassificationTask) -> None:
    module = told(task)
    assert set(task.evaluate(module, 64)) == set(task.metrics)
    assert set(task.evaluate_finally(module, 64)) == set(task.final_metrics)
    assert set(task.reported_metrics) <= {*task.metrics, *task.final_metrics}


def test_a_run_of_some_tasks_has_their_metrics_alone(tmp_path: Path) -> None:
    task = prepared(tmp_path, tasks=["qnli", "copa"])
    measured = task.evaluate(told(task), 64) | task.evaluate_finally(told(task), 64)
    assert {name.split("/")[1] for name in measured if name.count("/") == 2} == {"copa", "qnli"}


def test_the_training_loss_is_over_all_tokens_of_prompts_and_labels(task: MultitaskClassificationTask) -> None:
    module = Reader()
    (batch,) = task.train_batches(1, torch.tensor([0]))
    found = module.output_head(module.hidden_states(batch.ids)).log_softmax(-1)
    expected = -found.gather(-1, batch.targets.unsqueeze(-1)).mean()
    assert batch.scored.all() and task.loss(module, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    assert (task.tokens_per_example, task.epoch_tokens(task.configuration)) == (200, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tasks": []}, "tasks is empty: name at least one of 20_newsgroups, boolq, copa, cb, race_high, qnli"),
        ({"tasks": ["cb", "rte"]}, "tasks has an unknown name: take 20_newsgroups, boolq"),
        ({"tasks": ["cb", "cb"]}, "tasks names one twice"),
        ({"train_fraction": 0}, "train_fraction: must be greater than 0"),
        ({"boundary": "</s>"}, "boundary: bytes have a boundary of their own"),
        ({"vocab_size": 300}, "vocab_size: the tokenizer has 257 tokens"),
        ({"data": "nowhere"}, "data: there is no folder 20_newsgroups in nowhere"),
        ({"input_seq_len": 20}, "input_seq_len: 20_newsgroups: the prompt of row 1 has .* raise input_seq_len to at least"),
    ],
)
def test_what_does_not_fit_is_said_with_its_cure(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MultitaskClassificationTask.inspect(configured(**values))


def test_the_length_that_is_asked_for_is_enough() -> None:
    with pytest.raises(ConfigurationError) as caught:
        MultitaskClassificationTask.inspect(configured(input_seq_len=20, tasks=["cb"]))
    least = int(caught.value.problems[0][1].split("at least ")[1].split(",")[0])
    MultitaskClassificationTask.inspect(configured(input_seq_len=least + 8, tasks=["cb"]))


def test_preparing_is_deterministic(tmp_path: Path) -> None:
    folders = [prepare_data(tmp_path / name, MultitaskClassificationTask, configured()) for name in ("a", "b")]
    names = sorted(path.name for path in folders[0].iterdir())
    assert len(names) == 8
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)


def test_answers_are_read_by_a_tokeniser_that_travels_with_the_data(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    path = save_tokenizer(tmp_path / "made", ["### Premise: Relationship entailment contradiction neutral"] * 3)
    library = Tokenizer.from_file(str(path))
    (tmp_path / "data").mkdir()
    values = {"tokenizer": str(path.parent), "vocab_size": library.get_vocab_size(), "tasks": ["cb"]}
    task = prepared(tmp_path / "data", **values)
    path.unlink()
    boundary = library.token_to_id("<|endoftext|>")
    rows = task.validation.rows
    texts = [[*row.prompt.tolist(), *task.validation.labels["cb"][row.label], boundary] for row in rows]
    final = task.evaluate_finally(Oracle(texts, library.get_vocab_size()), 8)
    assert final["val/acc_exact"] == final["val/acc_prefix"] == 1.0


def session(tmp_path: Path, **changes: Any) -> TrainingSession:
    model = {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8, "use_ffn": True}
    values = {
        "run": "run",
        "architecture": "gpt",
        "task": "multitask_classification",
        "model": model,
        "task_values": SMALL,
        "training": {"epochs": 2, "lr": 1e-2, "batch_size": 4, "gradient_accumulation": 1},
        "artifacts": tmp_path,
    }
    made = TrainingSession(RunRequest(**{**values, **changes}), CPU)
    made.start()
    return made


def test_a_model_learns_from_the_texts(tmp_path: Path) -> None:
    run = session(tmp_path)
    first, last = run.step(), run.step()
    assert last.metrics["val/loss"] < first.metrics["val/loss"] < math.log(257)
    assert last.finished and {"val/acc_prefix", "val/cb/majority", "throughput/inference_tokens_per_s"} <= set(last.metrics)


def test_a_run_may_stop_at_its_target(tmp_path: Path) -> None:
    run = session(
        tmp_path,
        task_values={**SMALL, "target_acc_rank": 0.01},
        training={"epochs": 5, "stop_at_target": True, "batch_size": 4},
    )
    report = run.step()
    assert report.finished and report.metrics["solved_epoch"] == 1.0


@pytest.mark.long
def test_a_small_model_learns_the_made_tasks_beyond_the_majority(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    sizes = {"hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "vocab_size": 257, "initializer_range": 0.12, **sizes}
    run = session(
        tmp_path,
        architecture="causal_lm",
        model={"backbone": {"config": config}},
        task_values={"input_seq_len": 192, "max_new_tokens": 24},
        training={"epochs": 4, "lr": 3e-3, "batch_size": 4, "gradient_accumulation": 1, "clip_grad": 1.0},
    )
    metrics = [run.step().metrics for _ in range(4)][-1]
    assert metrics["val/acc_rank"] - metrics["val/majority"] > metrics["val/acc_rank_interval"]
