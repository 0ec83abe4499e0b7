"""A real MLflow server that can be killed and restarted, and a proxy before it that counts calls and misbehaves."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class MlflowServer:
    """``mlflow server`` with one worker on SQLite, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        database, artifacts = self._folder / "mlflow.db", self._folder / "artifacts"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(artifacts)]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_healthy()

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "server.log").read_text()
                time.sleep(0.1)


class Proxy:
    """Forwards to a server, as ``mode`` says.

    pass; hang; cut (a run is created, the answer lost); late (so too, but only when ``released``, and later requests pass);
    or a status to answer with.
    """

    def __init__(self, port: int) -> None:
        self.mode: str | int = "pass"
        self.calls: Counter[tuple[str, str]] = Counter()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, port))
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def count(self, endpoint: str, run_id: str = "") -> int:
        return self.calls[endpoint, run_id]


def _handler(proxy: Proxy, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            endpoint = self.path.split("?")[0].split("/mlflow/")[-1]
            content: dict[str, Any] = json.loads(body) if body.startswith(b"{") else {}
            proxy.calls[endpoint, content.get("run_id", "")] += 1
            if proxy.mode == "hang":
                proxy.released.wait(60)
            elif isinstance(proxy.mode, int):
                self.send_error(proxy.mode)
            else:
                self.forward(body, lost=endpoint == "runs/create" and self.creation_is_lost())

        def creation_is_lost(self) -> bool:
            mode = proxy.mode
            if mode == "late":
                proxy.mode = "pass"
                proxy.released.wait(60)
            return mode in ("late", "cut")

        def forward(self, body: bytes, lost: bool) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            headers = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "content-length")}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if not lost:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client gave up waiting
                    self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = handle_any

        def log_message(self, format: str, *arguments: Any) -> None:
            """Keeps the test's output clean."""

    return Handler
