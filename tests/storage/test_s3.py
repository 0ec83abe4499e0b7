"""The same against a real S3 API (moto's server), where that is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored import line

from orchestrator.storage.place import StoredSweeps
from trainables.storage import StorageError, open_folder, parse_location

SERVER = shutil.which("moto_server") or shutil.which("moto_server", path=str(Path(sys.executable).parent))
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(SERVER is None, reason="there is no S3 server: pip install 'moto[server,s3]'"),
]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The query of URIs of a server with the bucket ``bucket``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(SERVER), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT"), timeout=10)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(os.environ, "AWS_ACCESS_KEY_ID", "testing")
            patch.setitem(os.environ, "AWS_SECRET_ACCESS_KEY", "testing")
            patch.setitem(os.environ, "AWS_EC2_METADATA_DISABLED", "true")
            yield f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def test_a_folder_in_a_bucket(s3: str, tmp_path: Path) -> None:
    folder = open_folder(parse_location(f"s3://bucket/folder?{s3}"))
    folder.require()
    folder.write("a/b.txt", b"one")
    folder.write("a/b.txt", b"two")
    (tmp_path / "local").write_bytes(b"x" * 20_000_000)
    folder.send(tmp_path / "local", "large")
    assert folder.names() == ["a/b.txt", "large"] and folder.folders() == ["a"] and folder.names("nowhere") == []
    assert folder.read("a/b.txt") == b"two" and folder.read("nothing") is None and folder.modified_s("nothing") is None
    assert abs((folder.modified_s("large") or 0.0) - time.time()) < 600
    folder.move("a/b.txt", "c.txt")
    folder.move("gone", "d.txt")
    assert folder.fetch("large", tmp_path / "back") and not folder.fetch("gone", tmp_path / "gone")
    assert (tmp_path / "back").stat().st_size == 20_000_000
    folder.remove("c.txt")
    folder.remove("c.txt")
    folder.remove_below("a")
    assert folder.names() == ["large"]


def test_a_bucket_that_is_not_there_is_told(s3: str) -> None:
    with pytest.raises(StorageError, match="no such bucket"):
        StoredSweeps(parse_location(f"s3://another/sweeps?{s3}")).require_vacant("small")


def test_a_sweep_in_a_bucket_goes_from_one_machine_to_another(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = StoredSweeps(parse_location(f"s3://bucket/sweeps?{s3}"))
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "first"))
    sweeps.require_vacant("small")
    with sweeps.begun("small", print):
        record = sweeps.folder / "small" / "record.jsonl"
        record.parent.mkdir(parents=True)
        record.write_bytes(line(0))
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "second"))
    with sweeps.held("small", print):
        record = sweeps.folder / "small" / "record.jsonl"
        assert record.read_bytes() == line(0)
        with record.open("ab") as file:
            file.write(line(1))
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "third"))
    assert sweeps.fetched("small").record.read_bytes() == line(0) + line(1)
