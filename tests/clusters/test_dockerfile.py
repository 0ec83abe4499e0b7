"""The Dockerfile, read instruction by instruction: pinned, small, without secrets, and not root."""

from __future__ import annotations

import fnmatch
import re

import pytest
from cluster_files import DOCKERFILE, ROOT

IGNORE = DOCKERFILE.with_name("Dockerfile.dockerignore")
SECRETS = (
    "orchestrator/.env",
    "clusters/id_ed25519",
    "search_spaces/auth_token",
    "orchestrator/deep/er/server.key",
    "trainables/a.pem",
)


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) of each, with continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def mistakes(text: str) -> list[str]:
    """What is wrong with a Dockerfile, in words."""
    found = []
    lines = instructions(text)
    for word, rest in lines:
        if word == "FROM" and not re.fullmatch(r"\S+:\d+(\.\d+)+\S*@sha256:[0-9a-f]{64}( AS \w+)?", rest):
            found.append(f"not pinned by exact tag and digest: {rest}")
        if word == "ADD":
            found.append(f"ADD fetches and unpacks; COPY does not: {rest}")
        if word == "COPY" and rest.split()[0] in (".", "./", "*"):
            found.append("the whole folder is copied")
        if word == "RUN" and "pip install" in rest and "--constraint constraints.txt" not in rest:
            found.append(f"not under constraints.txt: {rest}")
        if word in ("ARG", "ENV") and re.search(r"(?i)token|password|secret|key", rest.replace("RAY_AUTH_MODE=token", "")):
            found.append(f"a secret in the image: {rest}")
        if word == "RUN" and re.search(r"\b(curl|wget)\b[^|]*\|", rest):
            found.append(f"runs what it downloads: {rest}")
    users = [rest for word, rest in lines if word == "USER"]
    if not users or users[-1].split(":")[0] in ("root", "0"):
        found.append("runs as root")
    return found


def is_ignored(path: str, text: str) -> bool:
    """Whether a build leaves a file out: the last pattern that matches it, or a folder above it, decides."""
    parts = path.split("/")
    above = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    ignored = False
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.removeprefix("!")
        names = [wanted, wanted.removeprefix("**/")] if wanted.startswith("**/") else [wanted]
        if any(fnmatch.fnmatchcase(name, each) and name.count("/") >= each.count("/") for name in above for each in names) or (
            wanted.startswith("**/") and any(fnmatch.fnmatchcase(part, wanted[3:]) for part in parts)
        ):
            ignored = not pattern.startswith("!")
    return ignored


def test_the_dockerfile_has_no_mistakes() -> None:
    assert mistakes(DOCKERFILE.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "FROM python:3.11",
        "FROM python:3.11.15-slim-bookworm",
        "ADD https://example.org/x.tar.gz /x",
        "COPY . .",
        "RUN pip install ray",
        "ENV MLFLOW_TRACKING_PASSWORD=x",
        "ARG REGISTRY_TOKEN",
        "RUN wget -qO- https://example.org/install.sh | sh",
        "USER root",
    ],
)
def test_a_mistake_in_the_dockerfile_is_found(line: str) -> None:
    assert len(mistakes(f"{DOCKERFILE.read_text()}\n{line}\n")) == 1


def test_what_is_copied_is_there_and_what_is_secret_is_not() -> None:
    sources = [source for word, rest in instructions(DOCKERFILE.read_text()) if word == "COPY" for source in rest.split()[:-1]]
    assert {"orchestrator", "trainables", "search_spaces", "clusters", "constraints.txt"} <= set(sources)
    assert all((ROOT / source).exists() and not is_ignored(source, IGNORE.read_text()) for source in sources)
    assert not is_ignored("orchestrator/sweep/controller.py", IGNORE.read_text())
    left_out = (".git/config", ".venv/bin/python", "sweeps/a/record.jsonl", ".env", "mlflow.db", "tests/conftest.py", *SECRETS)
    assert [path for path in left_out if not is_ignored(path, IGNORE.read_text())] == []
    assert not is_ignored(SECRETS[0], "*\n!orchestrator\n"), "the reader of patterns can tell"
