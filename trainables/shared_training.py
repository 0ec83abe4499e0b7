"""A model that is trained once, before the runs that share it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from trainables.fingerprint import fingerprint
from trainables.shared_weights import write_weights
from trainables.stages import Stage, StageContext

if TYPE_CHECKING:
    from trainables.training.request import RunRequest

STAGE = "base"
"""The name of the stage whose folder has the weights of a model that runs share."""


def training_stage(title: str, values: Mapping[str, Any], request: RunRequest) -> Stage:
    """The stage ``base`` that trains what ``request`` describes, whose folders do not matter; ``values`` decide the weights.

    Its folder has ``model.safetensors`` and, in ``metrics.json``, what the run measured last. A training that is interrupted goes
    on from its last checkpoint.
    """

    def make(folder: Path, context: StageContext) -> None:
        unfinished = context.artifacts / f"unfinished-{fingerprint(values)}"
        module, metrics = train_base(replace(request, artifacts=context.artifacts, folder=unfinished), context)
        write_weights(folder, module, metrics)
        shutil.rmtree(unfinished, ignore_errors=True)

    return Stage(STAGE, title, values, make)


def train_base(request: RunRequest, context: StageContext) -> tuple[nn.Module, Mapping[str, float]]:
    """The trained module and its last metrics; goes on from the checkpoint in the request's folder, where one was interrupted.

    Raises:
        ValueError: the training diverged.
    """
    from trainables.training.keeper import CheckpointKeeper
    from trainables.training.protocol import Diverged
    from trainables.training.session import TrainingSession

    session, keeper = TrainingSession(request, context.device), CheckpointKeeper(request)
    session.beat = context.beat
    session.start()
    keeper.continue_session(session)
    report = session.report_again()
    while not report.finished:
        try:
            report = session.step()
        except Diverged as diverged:
            raise ValueError(f"its training diverged, {diverged}: lower lr in the training of the base") from diverged
        keeper.keep(session, report)
    return session.module, report.metrics
