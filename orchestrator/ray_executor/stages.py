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
    from trainables.stages import Stage, StageContext
    from trainables.storage.run_place import SweepPlace

_ATTEMPTS_AFTER_DEATH = 3
_SECONDS_BETWEEN_LOOKS = 0.5


def make_shared(
    missing: Sequence[SharedStage],
    artifacts: Path,
    elsewhere: Sequence[Path],
    files: Mapping[str, Path],
    allocation: Allocation,
    tell: Callable[[str], None],
    place: SweepPlace | None = None,
) -> None:
    """Makes what is missing under ``artifacts``, in order; ``tell`` is told the title of each before it is made.

    With ``place`` it is made in the working copy of whichever machine, from what lies at the place, and sent there.

    Raises:
        StageFailed: one could not be made; those before it are kept.
        KeyboardInterrupt: what was being made is left.
    """
    for shared in missing:
        tell(shared.stage.title)
        if shared.stage.reads_files:
            problem = _problem(_request(shared), artifacts, elsewhere, files, place)
        else:
            problem = _problem_elsewhere(_request(shared), artifacts, elsewhere, allocation, place)
        if problem:
            raise StageFailed(f"the {shared.stage.title} could not be made: {problem}")


def _problem_elsewhere(
    request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], allocation: Allocation, place: SweepPlace | None
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
            waiting = remote.remote(request, artifacts.resolve(), roots, allocation.shared_cpus, place)
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


def _problem_with_threads(
    request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], cpus: float, place: SweepPlace | None
) -> str | None:
    from trainables.training.seeding import fit_threads

    fit_threads(cpus)
    return _problem(request, artifacts, elsewhere, {}, place)


def _problem(
    request: Mapping[str, Any],
    artifacts: Path,
    elsewhere: Sequence[Path],
    files: Mapping[str, Path],
    place: SweepPlace | None,
) -> str | None:
    """Makes a stage; what went wrong as text, since not every exception gets through Ray."""
    try:
        if place is None:
            _make(request, artifacts, elsewhere, files)
        else:
            _make_at(place, request, elsewhere, files)
    except Exception as error:
        return _reason(error)
    return None


def _make_at(place: SweepPlace, request: Mapping[str, Any], elsewhere: Sequence[Path], files: Mapping[str, Path]) -> None:
    """As :func:`_make`, in the working copy of this machine."""
    from trainables.prepared import data_folder
    from trainables.storage.prepared_inputs import fetch_prepared, is_sent, send_prepared
    from trainables.storage.run_place import ARTIFACTS

    sweep, artifacts = place.open(), place.here / ARTIFACTS
    task_type, task, stages = _resolved(request)
    names = [data_folder(artifacts, task_type, task).name, *(stage.folder_name for stage in stages)]
    for name in names:
        fetch_prepared(sweep, name, artifacts)
    _make(request, artifacts, elsewhere, files)
    for name in names:
        if not is_sent(sweep, name):
            send_prepared(sweep, artifacts / name)


def _make(request: Mapping[str, Any], artifacts: Path, elsewhere: Sequence[Path], files: Mapping[str, Path]) -> None:
    """Makes the stage, and those before it that are missing; the data of the task are there."""
    from trainables.stages import make_stages

    task_type, task, stages = _resolved(request)
    make_stages(stages, _context(artifacts, task_type, task, files), elsewhere)


def _resolved(request: Mapping[str, Any]) -> tuple[Any, Any, list[Stage]]:
    """The kind of task, the task, and the stages up to the one that is wanted."""
    from trainables import registry
    from trainables.stages import stages_of

    architecture, task_type = registry.architectures()[request["architecture"]], registry.tasks()[request["task"]]
    model = architecture.configuration.from_values(request["model"])
    task = task_type.configuration_type.from_values(request["task_values"])
    stages = list(stages_of(architecture, model, task_type, task))
    wanted = next(index for index, stage in enumerate(stages) if stage.name == request["stage"])
    return task_type, task, stages[: wanted + 1]


def _context(artifacts: Path, task_type: Any, task: Any, files: Mapping[str, Path]) -> StageContext:
    from trainables.prepared import prepare_data
    from trainables.ray_trainable import assigned_device
    from trainables.stages import StageContext

    return StageContext(artifacts, prepare_data(artifacts, task_type, task, paths=files), assigned_device(), files=files)


def _reason(error: Exception) -> str:
    """What went wrong where it did: Ray wraps the exceptions of its tasks."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {str(cause).strip() or 'without a word'}"
