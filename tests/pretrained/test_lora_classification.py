"""The shipped small sweep of adapters: all four beat the majority class on six made tasks, and the backbone alone does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lora_cases import CPU, NAMES

from orchestrator.space.reading import read_search_space
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.proposals import configured
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

SPACE = Path(__file__).parents[2] / "search_spaces/lora_keys_vs_values_quick.yaml"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def cells() -> dict[str, StudySpace]:
    return {cell.name: cell for cell in read_search_space(SPACE).spaces}


def measured(wanted: RunRequest) -> dict[str, float]:
    """The metrics of a finished run."""
    session = TrainingSession(wanted, CPU)
    session.start()
    report = session.step()
    while not report.finished:
        report = session.step()
    return dict(report.metrics)


@pytest.fixture(scope="module")
def without_adapters(cells: dict[str, StudySpace], artifacts: Path) -> dict[str, float]:
    adapted = replace(configured(cells["lora_attn"], {}), artifacts=artifacts)
    plain = replace(adapted, architecture="causal_lm", model={"backbone": adapted.model["backbone"]}, training={"epochs": 0})
    return measured(plain)


@pytest.mark.parametrize("name", NAMES)
def test_adapters_beat_the_majority_class_by_more_than_the_interval(
    name: str, cells: dict[str, StudySpace], without_adapters: dict[str, float], artifacts: Path
) -> None:
    assert without_adapters["val/acc_rank"] < without_adapters["val/majority"]
    metrics = measured(replace(configured(cells[name], {}), artifacts=artifacts))
    assert metrics["val/acc_rank"] - metrics["val/acc_rank_interval"] > metrics["val/majority"]
