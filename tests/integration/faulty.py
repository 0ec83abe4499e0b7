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
from trainables.training.worker import RunWorker

NAME = "faulty"
_CALL_THAT_FAILS = {"nan_first": 1, "nan_last": 6}
"""With two optimiser steps an epoch and three epochs; where none is given it is ``_USUAL_CALL``."""
_USUAL_CALL = 3
"""The first of the second epoch, so that one result precedes the fault."""


@dataclass(frozen=True, kw_only=True)
class FaultyConfiguration(GptConfiguration):
    fault: Literal[
        "none", "nan", "nan_first", "nan_last", "inf", "exception", "memory", "memory_real", "memory_grows", "dies_once", "dies",
        "stops_once", "stops", "terminated", "leaks", "dies_afterwards", "nan_evaluation",
    ] = hyperparameter("none", "what goes wrong")  # fmt: skip
    notes: str = hyperparameter("", "an existing folder where trainings and deaths are noted; empty for none")
    ballast_mib: int = hyperparameter(0, "resident memory held beside the parameters, in MiB", minimum=0)


class Faulty(Gpt):
    """The architecture gpt, with one fault, usually in the second epoch."""

    def __init__(self, model: FaultyConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self.model = model
        self.training_calls = 0
        self.ballast = torch.ones(model.ballast_mib * 2**20 // 4)

    def hidden_states(self, ids: Tensor) -> Tensor:
        states = super().hidden_states(ids)
        if not self.training:
            return states * float("nan") if self._evaluates_to_nothing() else states
        self.training_calls += 1
        if self.training_calls == 1:
            self._note()
        fails = self.training_calls == _CALL_THAT_FAILS.get(self.model.fault, _USUAL_CALL)
        return self._fail(states) if fails else states

    def _evaluates_to_nothing(self) -> bool:
        return self.model.fault == "nan_evaluation" and self.training_calls >= _USUAL_CALL

    def _note(self) -> None:
        """Tells that training began; a build alone says nothing, since Tune builds a run twice when a free process overtakes."""
        if self.model.notes:
            with (Path(self.model.notes) / "trainings").open("a") as file:
                file.write(f"{os.getpid()} {self.model.fault} {self.model.ballast_mib}\n")

    def _fail(self, states: Tensor) -> Tensor:
        match self.model.fault:
            case "nan" | "nan_first" | "nan_last":
                return states * float("nan")
            case "inf":
                return states * float("inf")
            case "exception":
                raise KeyError("a bug in a trial")
            case "memory":
                raise MemoryError("no memory left")
            case "memory_real":
                torch.empty(2**60, dtype=torch.uint8)
            case "memory_grows":
                self._grow()
            case "dies_once" | "stops_once":
                self._end_process_once()
            case "dies":
                os._exit(1)
            case "leaks":
                setattr(RunWorker, "is_clean", False)  # noqa: B010
            case "dies_afterwards":
                setattr(RunWorker, "stop", lambda worker: os._exit(1))  # noqa: B010
            case "stops":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "terminated":
                os.kill(os.getpid(), signal.SIGTERM)
        return states

    def _end_process_once(self) -> None:
        end = Path(self.model.notes) / f"end_of_{self.model.fault}"
        if not end.exists():
            end.touch()
            os.kill(os.getpid(), signal.SIGKILL if self.model.fault == "dies_once" else signal.SIGSTOP)

    def _grow(self) -> None:
        """Takes memory, 64 MiB at a time, until somebody ends the process."""
        held = []
        while True:
            held.append(torch.ones(2**24))


def register() -> None:
    """Ray calls this in every worker process (``worker_process_setup_hook``); the tests call it in the driver."""
    if NAME not in registered_architectures():
        decorate = register_architecture(NAME, configuration=FaultyConfiguration, kind="tokens")
        assert issubclass(decorate(Faulty), nn.Module)
