"""An objective that is measured at the end of a run alone: the same sweep as with one of every epoch, but for its curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulation import PretendedRun, Script, Simulation, assert_settled, payload

from orchestrator.space.metrics import objective_metrics
from trainables.tasks.forecasting import ForecastingTask

END = "val/mse_multi_step_raw"
SPACE = """
task: {name: forecasting}
architectures: {lstm: {hidden_size: {int: [2, 9]}}}
training: {epochs: 4}
objective: OBJECTIVE
search: {trials: 3, sampler: tpe, replicates: 2}
"""


class RunWithAnEnd(PretendedRun):
    """Reports ``val/mse`` at every epoch, and the objective at the last one."""

    def step(self) -> Any:
        self.progress += 1
        size = self.request.model["hidden_size"]
        metrics = {"val/mse": 1 / self.progress}
        if self.progress < 4:
            return payload(self.request.run, self.progress, metrics)
        return payload(self.request.run, 4, {**metrics, END: 100.0 * size + self.request.seed}, "completed")


def simulated(tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    monkeypatch.setattr("simulation.PretendedRun", RunWithAnEnd)
    simulation = Simulation(SPACE.replace("OBJECTIVE", objective), tmp_path / "s", lambda request: Script([0.0] * 4), 2)
    simulation.run()
    return simulation


FORMS = [f"{{metric: {END}}}", f"{{metric: {END}, at: best}}", f"[{{metric: {END}}}, {{metric: val/mse}}]"]


@pytest.mark.parametrize("objective", FORMS)
def test_a_trial_has_the_value_of_its_end(objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = simulated(tmp_path, objective, monkeypatch).controller
    assert_settled(controller)
    for trial in controller.state.trials.values():
        assert trial.outcome == "completed"
        assert trial.value == 100.0 * trial.configuration["model"]["hidden_size"] + 0.5, "the mean of two seeds"
        assert all(run.curve == {4: controller.value(run)} for run in controller.state.runs_of(trial.id))


def test_a_driver_that_dies_finds_the_same_values_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = []
    for name, steps in (("whole", float("inf")), ("twice", 13.0)):
        monkeypatch.setattr("simulation.PretendedRun", RunWithAnEnd)
        text = SPACE.replace("OBJECTIVE", f"{{metric: {END}}}")
        Simulation(text, tmp_path / name, lambda request: Script([0.0] * 4)).run(steps)
        again = Simulation(text, tmp_path / name, lambda request: Script([0.0] * 4))
        values.append([trial.value for trial in again.run().state.trials.values()])
    assert values[0] == values[1] and None not in values[0]


def test_a_run_that_ends_without_the_objective_is_no_success(tmp_path: Path) -> None:
    text = SPACE.replace("OBJECTIVE", f"{{metric: {END}}}").replace("replicates: 2", "replicates: 1")
    simulation = Simulation(text, tmp_path / "s", lambda request: Script([0.0] * 4))
    controller = simulation.run()
    assert {trial.outcome for trial in controller.state.trials.values()} == {"failed"}
    assert_settled(controller)


def test_metrics_of_the_end_may_be_objectives_in_their_natural_direction() -> None:
    assert objective_metrics(ForecastingTask)[END] == "min"
    assert next(iter(objective_metrics(ForecastingTask))) == "val/mse", "the first one is the default"


def test_a_stopping_rule_may_go_by_the_first_objective_while_the_second_is_of_the_end(tmp_path: Path) -> None:
    text = SPACE.replace("OBJECTIVE", f"[{{metric: val/mse}}, {{metric: {END}}}]") + "scheduler: asha\n"
    simulation = Simulation(text, tmp_path / "s")
    assert simulation.controller.specification.objective_names == ["val/mse", END]
