"""An architecture for tests alone that fails as it is told to; driver and workers register it under ``faulty``."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainables.architecture import register_architecture, registered_architectures
from trainables.architectures.gpt import Gpt, GptConfiguration
from trainables.configuration import hyperparameter

NAME = "faulty"
_CALL_THAT_FAILS = 3
"""With two optimiser steps an epoch: the first of the second epoch, so that one result precedes every fault."""


@dataclass(frozen=True, kw_only=True)
class FaultyConfiguration(GptConfiguration):
    fault: Literal["none", "nan", "exception", "memory", "dies_once", "dies"] = hyperparameter("none", "what goes wrong")
    notes: str = hyperparameter("", "an existing folder where trainings and deaths are noted; empty for none")
    ballast_mib: int = hyperparameter(0, "resident memory held beside the parameters, in MiB", minimum=0)


class Faulty(Gpt):
    """The architecture gpt, with one fault in the second epoch."""

    def __init__(self, model: FaultyConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self.model = model
        self.training_calls = 0
        self.ballast = torch.ones(model.ballast_mib * 2**20 // 4)

    def hidden_states(self, ids: Tensor) -> Tensor:
        states = super().hidden_states(ids)
        if not self.training:
            return states
        self.training_calls += 1
        if self.training_calls == 1:
            self._note()
        return self._fail(states) if self.training_calls == _CALL_THAT_FAILS else states

    def _note(self) -> None:
        """Tells that training began; a build alone says nothing, since Tune builds a run twice when a free process overtakes."""
        if self.model.notes:
            with (Path(self.model.notes) / "trainings").open("a") as file:
                file.write(f"{os.getpid()} {self.model.fault} {self.model.ballast_mib}\n")

    def _fail(self, states: Tensor) -> Tensor:
        match self.model.fault:
            case "nan":
                return states * float("nan")
            case "exception":
                raise KeyError("a bug in a trial")
            case "memory":
                raise MemoryError("no memory left")
            case "dies_once":
                death = Path(self.model.notes) / "death"
                if not death.exists():
                    death.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            case "dies":
                os._exit(1)
        return states


def register() -> None:
    """Ray calls this in every worker process (``worker_process_setup_hook``); the tests call it in the driver."""
    if NAME not in registered_architectures():
        decorate = register_architecture(NAME, configuration=FaultyConfiguration, kind="tokens")
        assert issubclass(decorate(Faulty), nn.Module)
