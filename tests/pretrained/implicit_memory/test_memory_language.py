"""A model with an implicit memory on text: probabilities, controls, gradients, weights of a folder, training."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_for_backward import elements_kept
from memory_models import FOUND, SIZES, TYPES, VOCABULARY, build, configuration, ids, original_of, row_of, task, text
from tiny import save_tiny_model, tiny_model
from torch import Tensor

from trainables.language import ChunkedModule, LanguageModule, RememberingModule, target_log_probabilities
from trainables.pretrained.folder import read_config
from trainables.pretrained.implicit_memory.model import ImplicitMemoryModel
from trainables.shared_weights import write_weights
from trainables.stages import StagedModule
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession


def chosen(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def test_the_module_offers_what_tasks_ask_for() -> None:
    module = build()
    assert isinstance(module, LanguageModule) and isinstance(module, RememberingModule)
    assert isinstance(module, ChunkedModule) and isinstance(module, StagedModule) and module.reads_stretches


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("gradients", [False, True])
def test_log_probabilities_are_those_of_all_logits(model_type: str, gradients: bool) -> None:
    module, batch = build(model_type), text()
    with torch.set_grad_enabled(gradients):
        expected = chosen(module(batch.ids), batch.targets)
        torch.testing.assert_close(module.target_log_probabilities(batch), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_full_attention_is_the_backbone_that_was_saved(tmp_path: Path, model_type: str) -> None:
    module, batch = from_folder(tmp_path, model_type), text()
    expected = chosen(tiny_model(model_type, VOCABULARY)(input_ids=batch.ids).logits, batch.targets)
    torch.testing.assert_close(module.full_attention_target_log_probabilities(batch), expected, rtol=1e-4, atol=1e-4)
    assert (module.target_log_probabilities(batch) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_a_cleared_memory_is_that_of_who_reads_each_window_as_the_first() -> None:
    module, batch = build(), text(length=21)
    expected = []
    for start, first, end in ((0, 0, 8), (0, 8, 12), (4, 12, 16), (8, 16, 20), (9, 20, 21)):
        states = module.window_states(batch.ids[:, start:end], module.new_memory(3).state())
        expected.append(chosen(module.output_head(states[:, first - start :]), batch.targets[:, first:end]))
    found = module.controlled_target_log_probabilities(batch, "cleared")
    torch.testing.assert_close(found, torch.cat(expected, dim=1), rtol=1e-5, atol=1e-5)
    assert (found[:, 8:] - module.target_log_probabilities(batch)[:, 8:]).abs().max() > 1e-3


@torch.no_grad()
def test_exchanged_memories_are_those_of_the_next_row_read_alone() -> None:
    module, batch = build(visible_snapshots=2), text(length=21)
    found = module.controlled_target_log_probabilities(batch, "exchanged")
    for row in range(3):
        mine, other = row_of(batch, row), row_of(batch, (row + 1) % 3)
        memory, expected = module.new_memory(1), []
        pieces = module.chunks(other.ids, memory)
        for start, first, end in ((0, 0, 8), (0, 8, 12), (4, 12, 16), (8, 16, 20), (9, 20, 21)):
            states = module.window_states(mine.ids[:, start:end], memory.state())
            expected.append(chosen(module.output_head(states[:, first - start :]), mine.targets[:, first:end]))
            next(pieces)
        torch.testing.assert_close(found[row : row + 1], torch.cat(expected, dim=1), rtol=1e-5, atol=1e-5)
    assert (found[:, 8:] - module.target_log_probabilities(batch)[:, 8:]).abs().max() > 1e-3


@torch.no_grad()
def test_equal_rows_exchange_nothing_and_one_row_is_refused() -> None:
    module, batch = build(), text()
    same = replace(batch, ids=batch.ids[:1].expand(3, -1), targets=batch.targets[:1].expand(3, -1))
    found = module.controlled_target_log_probabilities(same, "exchanged")
    torch.testing.assert_close(found, module.target_log_probabilities(same), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        module.controlled_target_log_probabilities(row_of(batch, 0), "exchanged")


def gradients(module: ImplicitMemoryModel) -> tuple[Tensor, dict[str, Tensor | None]]:
    module.zero_grad()
    loss = -module.target_log_probabilities(text()).mean()
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("values", [{}, {"dual_ffn": True, "ltm_visible_to_input": "last_n", "ltm_capacity": 2}])
def test_recomputed_windows_have_the_same_loss_and_gradients_to_the_bit(model_type: str, values: dict[str, Any]) -> None:
    loss, kept = gradients(build(model_type, **values).train())
    again, recomputed = gradients(build(model_type, recompute=True, **values).train())
    assert torch.equal(loss, again)
    assert kept.keys() == recomputed.keys()
    for name, gradient in kept.items():
        other = recomputed[name]
        assert gradient is other is None or (gradient is not None and other is not None and torch.equal(gradient, other)), name


def kept_elements(module: ImplicitMemoryModel, length: int) -> float:
    return elements_kept(module, lambda: module.target_log_probabilities(text(1, length)).mean())


def test_recomputing_keeps_of_longer_sequences_next_to_nothing() -> None:
    plain, recomputing = build(ltm_capacity=4), build(ltm_capacity=4, recompute=True)
    assert kept_elements(plain, 160) > 1.9 * kept_elements(plain, 80)
    assert kept_elements(recomputing, 160) < 0.05 * kept_elements(plain, 160)


@pytest.mark.parametrize("length", [40, 160])
@pytest.mark.parametrize("values", [{}, {"ltm_visible_to_input": "none"}, {"ltm_capacity": 3, "input_block": 16}])
def test_the_estimate_of_activations_is_within_a_third_of_what_autograd_keeps(length: int, values: dict[str, Any]) -> None:
    estimated = FOUND.activation_elements(configuration(**values), task(length))
    assert estimated == pytest.approx(kept_elements(build(**values), length), rel=0.33)


@pytest.mark.parametrize("model_type", TYPES)
def test_gradients_are_finite_and_reach_every_parameter_of_the_backbone(model_type: str) -> None:
    _, found = gradients(build(model_type, dual_ffn=True).train())
    copies = {name for name in found if original_of(name) != name}
    assert len(copies) == 2 * 4
    for name, gradient in found.items():
        if name in copies:
            assert gradient is None
        else:
            assert gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0, name


def from_folder(tmp_path: Path, model_type: str, **values: Any) -> ImplicitMemoryModel:
    """By way of the stage that the driver makes of a saved model."""
    folder = save_tiny_model(tmp_path / "saved", model_type, VOCABULARY)
    weights = {"folder": "saved#sha256=0", "config": read_config(folder)}
    model = configuration(backbone=weights, **values)
    (stage,) = FOUND.stages(model, None, None)
    module = FOUND.build(model, task())
    made = tmp_path / "made"
    made.mkdir()
    from trainables.pretrained.model import PretrainedLanguageModel
    from trainables.pretrained.weights import load_pretrained

    base = PretrainedLanguageModel(weights["config"])
    load_pretrained(base, folder)
    write_weights(made, base, {})
    module.attach({stage.name: made}, tmp_path)
    return module.eval()


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("model_type", TYPES)
def test_weights_of_a_folder_are_taken_unchanged_and_copied(tmp_path: Path, model_type: str, dual: bool) -> None:
    module, expected = from_folder(tmp_path, model_type, dual_ffn=dual), tiny_model(model_type, VOCABULARY).state_dict()
    found = {name.removeprefix("model."): value for name, value in module.state_dict().items()}
    assert (len(found) > len(expected)) == dual
    for name, value in found.items():
        assert torch.equal(value, expected[original_of(name)]), name
    assert all(parameter.requires_grad == (original_of(name) == name) for name, parameter in module.named_parameters())


def request(artifacts: Path, **values: Any) -> RunRequest:
    blocks = {"short_term_memory": 4, "input_block": 16, "memory_block": 8}
    sizes = {**SIZES, "vocab_size": 257}
    return RunRequest(
        run="remembering",
        architecture="memo_gpt",
        task="language_modeling",
        model={"backbone": {"config": {"model_type": "qwen2", **sizes}}, **blocks, **values},
        task_values={
            **{"corpus": "facts", "input_seq_len": 16, "segments": 4, "eval_segments": 4},
            **{"train_tokens": 512, "fit_tokens": 64, "val_tokens": 128, "test_tokens": 128},
        },
        training={"epochs": 2, "batch_size": 4, "eval_batch_size": 4, "lr": 3e-3},
        artifacts=artifacts,
    )


def to_the_end(session: TrainingSession) -> dict[str, float]:
    report = session.report_again()
    while not report.finished:
        report = session.step()
    return {name: value for name, value in report.metrics.items() if name.startswith(("val/", "test/", "train/"))}


@pytest.mark.parametrize("values", [{}, {"dual_ffn": True, "recompute": True}])
def test_a_run_learns_and_goes_on_from_its_checkpoint(tmp_path: Path, values: dict[str, Any]) -> None:
    cpu = torch.device("cpu")
    session = TrainingSession(request(tmp_path, **values), cpu)
    session.start()
    first = session.step().metrics["val/loss"]
    session.save(tmp_path / "checkpoint.pt")
    metrics = to_the_end(session)
    assert metrics["val/loss"] < first
    resumed = TrainingSession(request(tmp_path, **values), cpu)
    resumed.start()
    resumed.load(tmp_path / "checkpoint.pt")
    assert to_the_end(resumed) == metrics


def test_recomputed_training_is_the_same_training(tmp_path: Path) -> None:
    runs = []
    for recompute in (False, True):
        session = TrainingSession(request(tmp_path, recompute=recompute), torch.device("cpu"))
        session.start()
        runs.append(to_the_end(session))
    assert runs[0] == runs[1]


def test_a_forward_in_inference_mode_leaves_training_as_it_was() -> None:
    module = build().train()
    with torch.inference_mode():
        module.hidden_states(ids(2))
    loss, found = gradients(module)
    assert loss.isfinite() and any(gradient is not None for gradient in found.values())


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_keeps_its_memories_in_it_and_is_near_single_precision(dtype: torch.dtype, dual: bool) -> None:
    torch.manual_seed(0)
    whole = FOUND.build(configuration(dual_ffn=dual), task()).eval()
    half = copy.deepcopy(whole).to(dtype)
    memory = half.new_memory(3)
    assert all(piece.dtype == dtype for piece in half.chunks(text().ids, memory))
    assert {tensor.dtype for layers in (memory.short_term, *memory.snapshots) for tensor in layers} == {dtype}
    found = target_log_probabilities(half, text())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, target_log_probabilities(whole, text()), rtol=0, atol=0.02)
