"""The files of ``clusters/``, and the command lines in them and in the documents about clusters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "clusters"
RAY_CLUSTERS = [CLUSTERS / name for name in ("local.yaml", "aws.yaml", "gcp.yaml")]
KUBERNETES = CLUSTERS / "kuberay-rayjob.yaml"
DOCKERFILE = CLUSTERS / "docker/Dockerfile"
SCRIPTS = [CLUSTERS / name for name in ("run_or_resume.sh", "setup_node.sh", "slurm.sbatch")]
DOCUMENTS = [CLUSTERS / "README.md", ROOT / "docs/clusters.md"]
FILES = sorted(path for path in CLUSTERS.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Code:
    """Text that a machine will read: a file, or a fenced block of a document. ``first_line`` is the number of its first line."""

    path: Path
    text: str
    first_line: int = 1

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.first_line}"


def code_of(path: Path) -> list[Code]:
    """All of a file; of a document its fenced blocks."""
    text = path.read_text()
    if path.suffix != ".md":
        return [Code(path, text)]
    found = re.finditer(r"^```[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Code(path, match[1], text.count("\n", 0, match.start()) + 2) for match in found]


ALL_CODE = [code for path in [*FILES, *DOCUMENTS[1:]] if path.exists() for code in code_of(path)]


def commands(text: str) -> list[str]:
    """The command lines of a script, console block or YAML file: continued lines joined, folded ones of YAML too, no comments."""
    text = re.sub(r">-\n((?: +.*\n?)+)", lambda folded: " ".join(folded[1].split()) + "\n", text)
    text = re.sub(r"\\\n\s*", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip().removeprefix("$ ").removeprefix("- ") for line in text.splitlines())
    return [line for line in lines if line]


def manifests() -> list[dict[str, Any]]:
    """Every object of the Kubernetes file."""
    return [dict(document) for document in yaml.safe_load_all(KUBERNETES.read_text())]


def ray_job() -> dict[str, Any]:
    return next(manifest for manifest in manifests() if manifest["kind"] == "RayJob")
