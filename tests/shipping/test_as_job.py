"""As a job, with a client of our own in the place of Ray's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus

from orchestrator.ray_executor.joining import TokenRefused
from orchestrator.shipping import ShippingError, as_job, run_as_job

ADDRESS = "http://127.0.0.1:8265"


class FakeClient:
    """A job whose log is ``log``, of which the stream brings ``streamed``, and which ends as told after three questions."""

    def __init__(
        self, ended: JobStatus, code: int | None, log: str = "", streamed: str = "", error: Exception | None = None
    ) -> None:
        self.ended, self.code, self.log, self.streamed, self.error = ended, code, log, streamed, error
        self.submitted: dict[str, Any] = {}
        self.asked = 0

    def submit_job(self, **options: Any) -> str:
        if self.error:
            raise self.error
        self.submitted = options
        return "raysubmit_1"

    def get_job_info(self, job: str) -> Any:
        self.asked += 1
        status = self.ended if self.asked > 3 else JobStatus.RUNNING
        return SimpleNamespace(status=status, driver_exit_code=self.code, message="setup failed")

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield self.streamed
        raise RuntimeError("WebSocket connection closed unexpectedly")

    def get_job_logs(self, job: str) -> str:
        return self.log


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_job, "_POLL_S", 0.001)


def submit(monkeypatch: pytest.MonkeyPatch, client: FakeClient) -> int:
    monkeypatch.setattr(as_job, "_client", lambda address: client)
    return run_as_job(ADDRESS, Path("/staged"), ["run", "a b.yaml", "--storage", "/shared"])


@pytest.mark.parametrize(
    ("ended", "code", "status", "told"),
    [
        (JobStatus.SUCCEEDED, 0, 0, ""),
        (JobStatus.FAILED, 2, 2, ""),
        (JobStatus.FAILED, 130, 130, ""),
        (JobStatus.FAILED, None, 1, "error: the job failed: setup failed"),
        (JobStatus.FAILED, -9, 1, "error: the job failed: setup failed"),
        (JobStatus.STOPPED, None, 130, "the job was stopped"),
    ],
)
def test_the_exit_status_is_that_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ended: JobStatus,
    code: int | None,
    status: int,
    told: str,
) -> None:
    assert submit(monkeypatch, FakeClient(ended, code)) == status
    assert told in capsys.readouterr().err


def test_the_command_is_quoted_and_the_files_are_its_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(JobStatus.SUCCEEDED, 0)
    submit(monkeypatch, client)
    assert client.submitted["entrypoint"] == "python -m orchestrator run 'a b.yaml' --storage /shared --address auto"
    assert client.submitted["runtime_env"] == {"working_dir": "/staged"}


def test_the_log_is_shown_once_and_whole_where_the_stream_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(monkeypatch, FakeClient(JobStatus.SUCCEEDED, 0, log="one\ntwo\nthree\n", streamed="one\ntw"))
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_ctrl_c_ends_the_waiting_and_tells_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = FakeClient(JobStatus.SUCCEEDED, 0)

    def interrupted(job: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "get_job_info", interrupted)
    assert submit(monkeypatch, client) == 130
    told = capsys.readouterr().err
    assert f"ray job logs --follow raysubmit_1 --address {ADDRESS}" in told
    assert f"ray job stop raysubmit_1 --address {ADDRESS}" in told


@pytest.mark.parametrize(
    ("error", "refused", "told"),
    [
        (AuthenticationError("Authentication failed: Forbidden"), TokenRefused, "refuses the token"),
        (ConnectionError("Failed to connect to Ray"), ShippingError, "nothing answers at http.*ray dashboard"),
        (
            RuntimeError("The Ray jobs CLI & SDK require the ray[default] installation"),
            ShippingError,
            r"pip install 'memsweep\[cluster\]'",
        ),
        (ModuleNotFoundError("x", name="aiohttp"), ShippingError, r"aiohttp is missing.*pip install 'memsweep\[cluster\]'"),
        (RuntimeError("Request failed with status code 413"), ShippingError, "did not take the job: .* 413"),
    ],
)
def test_errors_of_ray_name_the_cure(
    monkeypatch: pytest.MonkeyPatch, error: Exception, refused: type[Exception], told: str
) -> None:
    with pytest.raises(refused, match=told):
        submit(monkeypatch, FakeClient(JobStatus.SUCCEEDED, 0, error=error))
