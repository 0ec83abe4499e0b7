"""Training in epochs: one step of the session is one pass over the training data and one evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from trainables.counts import measure_counts
from trainables.finite import finite_metrics
from trainables.memory import weights_mib
from trainables.prepared import prepare_data
from trainables.stages import StageContext, StagedModule, make_stages, stages_of
from trainables.task import EpochTask
from trainables.training.checkpoint import CheckpointRefused, read_checkpoint, write_checkpoint
from trainables.training.estimate import estimated_run_mib
from trainables.training.forward_hooks import beat_on_forward
from trainables.training.optimizer import build_optimizer, clip_gradients, optimised_parameters, set_learning_rate
from trainables.training.own_state import load_own_state, own_state
from trainables.training.protocol import Diverged, Session, StepReport
from trainables.training.restoration import (
    require_bookkeeping,
    require_generator_state,
    require_module_fits,
    require_moments_fit,
)
from trainables.training.seeding import random_states, restore_random_states, seed_everything

_STEPS_BETWEEN_CHECKS = 64
"""Optimiser steps between two looks at the loss: each look waits for the device, none would train on NaN to the epoch's end."""


class TrainingSession(Session):
    """Trains one configuration with one seed; on the CPU, going on from a checkpoint equals never stopping, bit for bit."""

    def start(self) -> None:
        started = time.perf_counter()
        self._resolved = self.request.resolved()
        task_type, task = self._resolved.task_type, self._resolved.task
        self.prepared = prepare_data(self.request.artifacts, task_type, task)
        self.stages = self._make_stages(self.prepared)
        seed_everything(self.request.seed)
        self._order = torch.Generator().manual_seed(self.request.seed)
        self.task = cast(type[EpochTask], task_type)(task, self.prepared, self.device)
        self.module = self._resolved.architecture.build(self._resolved.model, task).to(self.device)
        if isinstance(self.module, StagedModule):
            self.module.attach(self.stages, self.prepared)
        self.task.adapt_to(self.module)
        beat_on_forward(self.module, self.beat)
        self._optimizer = build_optimizer(self._resolved.training, self.module)
        self._parameters = optimised_parameters(self._optimizer)
        self._epoch, self._train_seconds, self._total_seconds = 0, 0.0, 0.0
        self._solved: dict[str, float] = {}
        self._best: float | None = None
        self._last_metrics: dict[str, float] = {}
        self._improved = False
        self._total_seconds = time.perf_counter() - started

    def _make_stages(self, data: Path) -> dict[str, Path]:
        """What the run shares with others, where nobody has made it before; before seeding, as making may draw numbers."""
        resolved = self._resolved
        stages = stages_of(resolved.architecture, resolved.model, resolved.task_type, resolved.task)
        return make_stages(stages, StageContext(self.request.artifacts, data, self.device, self.beat))

    @property
    def progress(self) -> int:
        return self._epoch

    def once_metrics(self) -> dict[str, float]:
        counts = measure_counts(self.module)
        estimated = estimated_run_mib(self._resolved, counts, self._resolved.training.batch_size)
        predicted = {"vram/predicted_mib": estimated} if self.device.type == "cuda" else {}
        return {
            **{f"params/{scope}": float(count) for scope, count in counts.by_scope().items()},
            "memory/weights_mib": weights_mib(self.module),
            "memory/estimated_mib": estimated,
            **predicted,
        }

    def step(self) -> StepReport:
        if self._finished:
            return self.report_again()
        started = time.perf_counter()
        self._epoch += 1
        metrics = self._train() if self._resolved.training.epochs else {}
        metrics |= self._evaluate(metrics)
        self._total_seconds += time.perf_counter() - started
        self._note_target(metrics)
        if self._finished:
            metrics |= self._evaluate_finally(metrics)
        metrics |= {"time/train_s": self._train_seconds, "time/total_s": self._total_seconds, **self._solved}
        self._improved = self._note_best(metrics)
        self._last_metrics = finite_metrics(metrics)
        return self.report_again()

    def report_again(self) -> StepReport:
        return StepReport(self._epoch, self._last_metrics, self._finished, self._improved)

    def save_exhibits(self, folder: Path) -> None:
        self.module.eval()
        with torch.inference_mode():
            self.task.save_exhibits(self.module, folder)

    def save(self, path: Path) -> None:
        state = {
            "module": own_state(self.module),
            "moments": self._optimizer.state_dict()["state"],
            "order": self._order.get_state(),
            "random": random_states(self.device),
            "epoch": self._epoch,
            "seconds": {"train": self._train_seconds, "total": self._total_seconds},
            "solved": self._solved,
            "best": self._best,
            "metrics": self._last_metrics,
            "improved": self._improved,
        }
        write_checkpoint(path, state, fingerprint=self.request.fingerprint(), seed=self.request.seed)

    def load(self, path: Path) -> None:
        state = read_checkpoint(path, fingerprint=self.request.fingerprint(), seed=self.request.seed)
        try:
            self._require_fit(state)
        except Exception as error:  # whatever a hostile state makes of the looks at it
            raise CheckpointRefused(f"{path} does not fit this run: {error!r}") from error
        load_own_state(self.module, state["module"])
        # The groups hold hyperparameters, which the request decides.
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state["moments"]})
        self._order.set_state(state["order"])
        restore_random_states(state["random"], self.device)
        self._epoch, self._solved, self._best = state["epoch"], dict(state["solved"]), state["best"]
        self._train_seconds, self._total_seconds = state["seconds"]["train"], state["seconds"]["total"]
        self._last_metrics, self._improved = dict(state["metrics"]), state["improved"]

    def _require_fit(self, state: Mapping[str, Any]) -> None:
        require_module_fits(state["module"], self.module)
        require_moments_fit(state["moments"], self._parameters)
        require_generator_state(state["order"])
        require_generator_state(state["random"]["cpu"])
        if self.device.type in state["random"]:
            require_generator_state(state["random"][self.device.type], self.device)
        require_bookkeeping(state, self._last_epoch)

    @property
    def _finished(self) -> bool:
        training = self._resolved.training
        return self._epoch >= self._last_epoch or (training.stop_at_target and bool(self._solved))

    @property
    def _last_epoch(self) -> int:
        return max(1, self._resolved.training.epochs)

    def _train(self) -> dict[str, float]:
        """One epoch: its mean loss, learning rate and speed."""
        training, started = self._resolved.training, time.perf_counter()
        set_learning_rate(self._optimizer, training.learning_rate(self._epoch))
        self.module.train()
        loss = self._train_batches()
        seconds = time.perf_counter() - started
        self._train_seconds += seconds
        tokens = self.task.examples_per_epoch * self.task.tokens_per_example
        return {
            "train/loss": loss,
            "train/lr": training.learning_rate(self._epoch),
            "throughput/tokens_per_s": tokens / seconds,
        }

    def _train_batches(self) -> float:
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        steps = 0
        batches = -(-self.task.examples_per_epoch // self._resolved.training.batch_size)
        for batch in self.task.train_batches(self._resolved.training.batch_size, self._next_order()):
            self._tell_progress(steps)
            total += self._accumulate(batch, steps, batches)
            steps += 1
            if steps % _STEPS_BETWEEN_CHECKS == 0:
                self._require_finite("the training loss", total.item(), {})
        return self._require_finite("the training loss", total.item() / steps, {})

    def _tell_progress(self, steps: int) -> None:
        """Some modules train otherwise at first; they are told which part of all training lies behind them."""
        tell = getattr(self.module, "training_progress", None)
        if tell is not None:
            in_epoch = steps * self._resolved.training.batch_size / self.task.examples_per_epoch
            tell((self._epoch - 1 + in_epoch) / self._resolved.training.epochs)

    def _accumulate(self, batch: Any, index: int, batches: int) -> Tensor:
        """The loss of the batch ``index`` of ``batches``; the optimiser steps behind the last batch of each group."""
        size = self._resolved.training.gradient_accumulation
        group = min(size, batches - index // size * size)
        loss = self.task.loss(self.module, batch)
        torch.autograd.backward(loss if group == 1 else loss / group)
        if index % size == group - 1:
            self._optimizer_step()
        self.beat()
        return loss.detach()

    def _optimizer_step(self) -> None:
        if self._resolved.training.clip_grad is not None:
            clip_gradients(self._parameters, self._resolved.training.clip_grad)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _next_order(self) -> Tensor:
        count = self.task.examples_per_epoch
        if not self._resolved.training.shuffle:
            return torch.arange(count)
        return torch.randperm(count, generator=self._order)

    def _evaluate(self, trained: Mapping[str, float]) -> dict[str, float]:
        self.module.eval()
        started = time.perf_counter()
        with torch.inference_mode():
            metrics = self.task.evaluate(self.module, self._resolved.training.eval_batch_size)
        if self.task.tokens_per_evaluation is not None:
            metrics["throughput/inference_tokens_per_s"] = self.task.tokens_per_evaluation / (time.perf_counter() - started)
        self._require_finite_objectives({**trained, **metrics})
        return metrics

    def _evaluate_finally(self, measured: Mapping[str, float]) -> dict[str, float]:
        started = time.perf_counter()
        with torch.inference_mode():
            metrics = self.task.evaluate_finally(self.module, self._resolved.training.eval_batch_size)
        self._total_seconds += time.perf_counter() - started
        self._require_finite_objectives({**measured, **metrics})
        return metrics

    def _require_finite_objectives(self, measured: dict[str, float]) -> None:
        for name in ("val/loss", self.request.objective_metric, *self.request.other_objectives):
            if name in measured:
                self._require_finite(name, measured[name], measured)

    def _require_finite(self, what: str, value: float, measured: Mapping[str, float]) -> float:
        if not math.isfinite(value):
            reason = f"{what} is {value} in {self.task.progress_unit} {self._epoch}"
            raise Diverged(reason, StepReport(self._epoch, finite_metrics(measured)))
        return value

    def _note_target(self, metrics: Mapping[str, float]) -> None:
        target = self.task.target
        if not self._solved and target is not None and target.reached(metrics[target.metric]):
            self._solved = {"solved_epoch": float(self._epoch), "time/to_target_s": self._total_seconds}

    def _note_best(self, metrics: Mapping[str, float]) -> bool:
        value = metrics.get(self.request.objective_metric or "")
        if value is None:
            return False
        better = self._best is None or (value > self._best if self.request.objective_mode == "max" else value < self._best)
        self._best = value if better else self._best
        return better
