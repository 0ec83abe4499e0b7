"""Makes the stages that runs share, one after another, each in a process of its own with ``shared_cpus`` and ``shared_gpus``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.ray_executor.errors import StageFailed
from orchestrator.ray_executor.interruption import Interruption
from orchestrator.ray_executor.resources import Allocation
from orchestrator.sweep.stages import SharedStage

if TYPE_CHECKING:
    from trainables.stages import StageContext

_ATTEMPTS_AFTER_DEATH = 3
_SECONDS_BETWEEN_LOOKS = 0.5


def make_shared(
    missing: Sequence[SharedStage],
    artifacts: Path,
    elsewhere: Sequence[Path],
    files: Mapping[str, Path],
    allocation: Allocation,
    tell: Callable[[str], None],
) -> None:
    """Makes what is missing under ``artifacts``, in order; ``tell`` is told the title of each before it is made.

    Raises:
        StageFailed: one could not be made; those before it are kept.
        KeyboardInterrupt: what was being made is left.
    """
    for shared in missing:
        tell(shared.stage.title)
        if shared.stage.reads_files:
            problem = _problem(_request(shared), artifacts, elsewhere, files)
        else:
            problem = _problem_elsewhere(_request(shared), artifacts, elsewhere, allocation)
        if problem:
            raise StageFailed(f"the {shared.stage.title} could not be made: {problem}")


def _problem_elsewhere(
    request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], allocation: Allocation
) -> str | None:
    """Makes a stage in a process of Ray's; what went wrong, None where nothing did."""
    import ray

    remote = ray.remote(_problem_with_threads).options(
        num_cpus=allocation.shared_cpus, num_gpus=allocation.shared_gpus, max_retries=_ATTEMPTS_AFTER_DEATH
    )
    roots = [root.resolve() for root in elsewhere]
    interruption = Interruption()
    with interruption.watched():
        try:
            waiting = remote.remote(request, artifacts.resolve(), roots, allocation.shared_cpus)
            while not ray.wait([waiting], timeout=_SECONDS_BETWEEN_LOOKS)[0]:
                if interruption.requested:
                    # Never a task that has ended: Ray 2.60 aborts the process then.
                    ray.cancel(waiting, force=True)
                    raise KeyboardInterrupt
            problem: str | None = ray.get(waiting)
        except Exception as error:  # such as the death of the process in each of its lives
            return _reason(error)
    return problem


def _request(shared: SharedStage) -> dict[str, Any]:
    """Plain values, from which any process finds the same stage."""
    space = shared.space
    return {
        "architecture": space.architecture.name,
        "model": shared.model.to_values(),
        "task": space.task_type.name,
        "task_values": shared.task.to_values(),
        "stage": shared.stage.name,
    }


def _problem_with_threads(request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], cpus: float) -> str | None:
    from trainables.training.seeding import fit_threads

    fit_threads(cpus)
    return _problem(request, artifacts, elsewhere, {})


def _problem(request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], files: Mapping[str, Path]) -> str | None:
    """Makes a stage; what went wrong as text, since not every exception gets through Ray."""
    try:
        _make(request, artifacts, elsewhere, files)
    except Exception as error:
        return _reason(error)
    return None


def _make(request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], files: Mapping[str, Path]) -> None:
    """Makes the stage, and those before it that are missing; the data of the task are there."""
    from trainables import registry
    from trainables.stages import make_stages, stages_of

    architecture, task_type = registry.architectures()[request["architecture"]], registry.tasks()[request["task"]]
    model = architecture.configuration.from_values(request["model"])
    task = task_type.configuration_type.from_values(request["task_values"])
    stages = list(stages_of(architecture, model, task_type, task))
    wanted = next(index for index, stage in enumerate(stages) if stage.name == request["stage"])
    make_stages(stages[: wanted + 1], _context(artifacts, task_type, task, files), elsewhere)


def _context(artifacts: Path, task_type: Any, task: Any, files: Mapping[str, Path]) -> StageContext:
    from trainables.prepared import prepare_data
    from trainables.ray_trainable import assigned_device
    from trainables.stages import StageContext

    return StageContext(artifacts, prepare_data(artifacts, task_type, task, paths=files), assigned_device(), files=files)


def _reason(error: Exception) -> str:
    """What went wrong where it did: Ray wraps the exceptions of its tasks."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {str(cause).strip() or 'without a word'}"
