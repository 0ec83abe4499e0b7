"""Parameters that keep a learning rate of their own, whatever the schedule of the rest."""

from collections.abc import Iterable
from pathlib import Path

import torch
from small_runs import small_request, started, to_the_end
from torch import nn

from trainables.training.configuration import TrainingConfiguration
from trainables.training.optimizer import build_optimizer, optimised_parameters, set_learning_rate
from trainables.training.session import TrainingSession

MEMORY = {"dim": 16, "n_layers": 1, "dk": 8, "dv": 8, "n_subkeys": 8, "n_neighbors": 4, "query_dim": 8}


class Bank(nn.Linear):
    """A layer whose weight keeps its own learning rate."""

    def __init__(self, rate: float) -> None:
        super().__init__(3, 2)
        self.rate = rate

    def learning_rates(self) -> dict[nn.Parameter, float]:
        return {self.weight: self.rate}


def ids(parameters: Iterable[nn.Parameter]) -> list[int]:
    return [id(parameter) for parameter in parameters]


def trained_memory(folder: Path, *, value_lr: float | None, **training: float) -> TrainingSession:
    values = {"lr_gamma": 0.5, "epochs": 2, **training}
    return started(small_request(folder, architecture="pkm", model={**MEMORY, "value_lr": value_lr}, training=values))


def values_of(session: TrainingSession) -> torch.Tensor:
    return session.module.blocks[0].ffn.branch.values.detach()


def test_modules_that_name_nothing_have_one_group_in_their_order() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = build_optimizer(TrainingConfiguration(), module)
    assert len(optimizer.param_groups) == 1
    assert ids(optimised_parameters(optimizer)) == ids(module.parameters())


def test_parameters_of_one_rate_form_a_group_that_the_schedule_leaves_alone() -> None:
    module = nn.Sequential(Bank(0.3), nn.Linear(2, 3), Bank(0.1), nn.Linear(2, 3), Bank(0.3))
    optimizer = build_optimizer(TrainingConfiguration(lr=0.01, weight_decay=0.5), module)
    set_learning_rate(optimizer, 0.005)
    groups = optimizer.param_groups
    assert [group["lr"] for group in groups] == [0.005, 0.1, 0.3]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0, 0.0]
    assert ids(groups[1]["params"]) == ids([module[2].weight]) and ids(groups[2]["params"]) == ids(
        [module[0].weight, module[4].weight]
    )
    assert set(ids(optimised_parameters(optimizer))) == set(ids(module.parameters()))


def test_frozen_parameters_are_left_out_of_every_group() -> None:
    module = nn.Sequential(Bank(0.1), nn.Linear(2, 3))
    module[0].weight.requires_grad_(False), module[1].bias.requires_grad_(False)
    found = optimised_parameters(build_optimizer(TrainingConfiguration(), module))
    assert ids(found) == ids([module[0].bias, module[1].weight])


def test_the_values_of_a_memory_move_with_their_own_rate_and_the_rest_with_the_schedule(tmp_path: Path) -> None:
    session = trained_memory(tmp_path, value_lr=0.02, lr=1e-9, lr_min=0.0, weight_decay=0.5)
    before = {name: parameter.detach().clone() for name, parameter in session.module.named_parameters()}
    assert to_the_end(session)[-1].metrics["train/lr"] == 5e-10
    for name, parameter in session.module.named_parameters():
        moved = (parameter.detach() - before[name]).abs().max().item()
        assert moved > 0.01 if name.endswith("branch.values") else moved < 1e-6, name


def test_null_trains_the_values_like_the_rest(tmp_path: Path) -> None:
    session = trained_memory(tmp_path, value_lr=None, lr=1e-9, lr_min=0.0)
    before = values_of(session).clone()
    to_the_end(session)
    assert (values_of(session) - before).abs().max() < 1e-6


def test_going_on_from_a_checkpoint_equals_never_stopping_bit_for_bit(tmp_path: Path) -> None:
    whole, interrupted, resumed = (trained_memory(tmp_path, value_lr=0.02) for _ in range(3))
    to_the_end(whole)
    interrupted.step()
    interrupted.save(tmp_path / "c.pt")
    resumed.load(tmp_path / "c.pt")
    assert to_the_end(resumed)
    for (name, one), (_, other) in zip(whole.module.state_dict().items(), resumed.module.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
