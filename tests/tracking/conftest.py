"""Stores for the tests of tracking: SQLite files from one prepared template, and one real MLflow server a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow_servers import MlflowServer, Proxy
from tracked_sweep import local_location

from orchestrator.tracking import StoreLocation, Tracker
from orchestrator.tracking.store import set_client_environment

TrackerFactory = Callable[..., Tracker]


@pytest.fixture(scope="session", autouse=True)
def quiet_client() -> None:
    set_client_environment()


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("template")
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def location(tmp_path: Path, database_template: Path) -> StoreLocation:
    storage = tmp_path / "my storage"
    storage.mkdir()
    shutil.copy(database_template, storage / "mlflow.db")
    return local_location(storage, "experiment")


@pytest.fixture
def tracker_on(tmp_path: Path) -> Iterator[TrackerFactory]:
    """Makes trackers on one spool folder that flush only when asked to, unless told otherwise."""
    made: list[Tracker] = []

    def make(location: StoreLocation, interval_s: float = 3600.0, spool: Path | None = None, **more: object) -> Tracker:
        store = (location.tracking_uri, location.experiment, location.artifact_location)
        made.append(Tracker(spool or tmp_path / "spool", *store, interval_s=interval_s, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for tracker in made:
        tracker.close(0)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(mlflow_server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(mlflow_server.port)
    yield proxy
    proxy.close()
