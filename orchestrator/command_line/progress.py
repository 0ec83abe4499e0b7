"""What a person sees while a sweep runs: one line when a run ends; on a terminal a line of state below it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.launch import SweepObserver
from orchestrator.ray_executor.resources import Allocation
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.state import RunState, TrialState


class ProgressPrinter(SweepObserver):
    """Prints to stderr; quiet enough for a log file."""

    def __init__(self, note: str | None = None) -> None:
        """``note`` is said when the sweep was found, or that there is none of its name, before anything starts."""
        self._note = note
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._controller: SweepController | None = None
        self._started = time.monotonic()
        self._ended_runs = 0

    def preparing(self) -> None:
        if self._note:
            self._print(self._note)
        self._print("preparing inputs and starting Ray …")

    def edited(self, changes: Sequence[str], consequences: Sequence[str]) -> None:
        self._print("the space was edited:")
        for line in (*changes, *consequences):
            self._print(f"  {line}")

    def warmed(self, source: str, told: int, outside: int) -> None:
        self._print(f"warm start: the sampler is told {told} trials of {source}; {outside} others lie outside this space")

    def sharing(self, title: str) -> None:
        self._print(f"making the {title}, once for all runs that use it …")

    def warned(self, run: str, message: str) -> None:
        self._print(f"warning: {run}: {message}")

    def told(self, message: str) -> None:
        self._print(message)

    def started(self, controller: SweepController, allocation: Allocation) -> None:
        self._controller = controller
        trials, runs_so_far = controller.state.trials, controller.state.runs.values()
        self._ended_runs = sum(run.outcome not in (None, "interrupted") and trials[run.trial].kept for run in runs_so_far)
        total = controller.planned_runs
        runs = "runs" if total is None else f"{total} runs"
        self._print(f"{controller.specification.name}: {runs}, {_at_once(controller, allocation)} at once")
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._state, console=self._console, refresh_per_second=2, transient=True)
            self._live.start()

    def run_ended(self, controller: SweepController, trial: TrialState, run: RunState) -> None:
        self._ended_runs += 1
        total = controller.planned_runs
        self._print(f"[{self._ended_runs}/{total if total is not None else '?'}] {_describe(controller, trial, run)}")

    def delivering(self, pending: int) -> None:
        if pending > 100:
            self._print(f"delivering {pending} operations to MLflow …")

    def ended(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, text: str) -> None:
        self._console.print(Text(text))

    def _state(self) -> Text:
        assert self._controller is not None
        running = [run for run in self._controller.in_flight if run.outcome is None]
        shown = ", ".join(f"{run.id} at {run.progress}" for run in running[:4])
        more = f" and {len(running) - 4} more" if len(running) > 4 else ""
        return Text(f"{time.monotonic() - self._started:4.0f} s  running: {shown}{more}", style="dim")


def _at_once(controller: SweepController, allocation: Allocation) -> str:
    """Runs that share GPUs are as many as fit, which is known when they are there."""
    resources = controller.specification.resources
    packed = resources.gpu == "auto" and resources.concurrency == "auto" and allocation.gpus
    return f"at least {allocation.concurrency}" if packed else str(allocation.concurrency)


def _describe(controller: SweepController, trial: TrialState, run: RunState) -> str:
    objective = controller.specification.objective
    value = controller.value(run)
    unit = controller.specification.task_type.progress_unit
    parts = [f"{run.id} {run.outcome} at {unit} {run.progress}"]
    if value is not None:
        parts.append(f"{objective.metric} {value:.4g}")
    budget = controller.specification.spaces[0].budget
    scope = budget.scope if budget else "total"
    if f"params/{scope}" in run.metrics:
        parts.append(f"{run.metrics[f'params/{scope}']:,.0f} {scope} parameters")
    if "time/total_s" in run.metrics:
        parts.append(f"{run.metrics['time/total_s']:.1f} s")
    return ", ".join(parts)


def is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
