"""One Ray for all integration tests, whose workers know the architecture of ``faulty.py``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import faulty
import pytest

from orchestrator.ray_executor.cluster import QUIET_ENVIRONMENT
from orchestrator.ray_executor.security import closed_ray
from orchestrator.tracking.store import set_client_environment
from trainables.architecture import registered_architectures

if TYPE_CHECKING:
    from mlflow_servers import MlflowServer

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / "tracking"), str(HERE.parent / "pretrained")]

SLOTS = 2


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray of two slots; sweeps join it and leave it running."""
    with pytest.MonkeyPatch.context() as patch, closed_ray():
        import ray

        for name, value in QUIET_ENVIRONMENT.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=SLOTS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": str(HERE)}, "worker_process_setup_hook": "faulty.register"},
        )
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def faults() -> Iterator[None]:
    """The architecture ``faulty`` in this process, for one module: other tests look at all that are registered."""
    faulty.register()
    yield
    registered_architectures().pop(faulty.NAME)


@pytest.fixture(scope="session", autouse=True)
def quiet_client() -> None:
    set_client_environment()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server on SQLite."""
    from mlflow_servers import MlflowServer

    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()
