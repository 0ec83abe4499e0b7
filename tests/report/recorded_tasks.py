"""A task whose sweeps are recorded, never run: it measures by length, by position and by part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from trainables.configuration import Configuration, hyperparameter
from trainables.task import Task


@dataclass(frozen=True, kw_only=True)
class MeasuredConfiguration(Configuration):
    """Lengths of two kinds of sequences."""

    train_length: int = hyperparameter(512, "tokens of a training crop", minimum=1)
    val_length: int = hyperparameter(1024, "tokens of a validation crop", minimum=1)
    vocab_size: int = hyperparameter(64, "tokens", minimum=2)


class MeasuredTask(Task):
    """Measures everything."""

    name = "measured"
    kind = "tokens"
    configuration_type = MeasuredConfiguration
    metrics: ClassVar = {"val/loss": "min", "val/perplexity": "min", "val/accuracy": "max", "memory/peak_host_mib": "min"}
    length_metrics: ClassVar = {
        "train_length": ("train_crop/loss", "train_crop/perplexity"),
        "val_length": ("val/loss", "val/perplexity"),
    }
    baselines: ClassVar = {"val/loss": "val/full_attention_loss", "val/accuracy": "val/majority"}
    position_metrics: ClassVar = {"val/segment_loss": "val_length"}
    part_metrics: ClassVar = {"subject": "val/accuracy"}

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """There is nothing to write."""


class FootprintTask(MeasuredTask):
    """Measures memory, in one step and without training."""

    trains = False
    length_metrics: ClassVar = {"val_length": (("vram/peak_reserved_mib", "memory/peak_host_mib"),)}
    baselines: ClassVar = {"vram/peak_reserved_mib": "memory/weights_mib"}
    position_metrics: ClassVar = {}
    part_metrics: ClassVar = {}
