"""What is never shipped: what is not needed on a cluster, and what looks like a credential."""

from __future__ import annotations

import fnmatch
import mmap
import re
from pathlib import Path, PurePosixPath

NOT_NEEDED = (
    *(".git", ".hg", ".svn", ".venv", "venv", "env", "node_modules", "__pycache__", "*.egg-info", ".*_cache", ".cache"),
    *(".hypothesis", ".ipynb_checkpoints", ".idea", ".vscode"),
    *("sweeps", "mlruns", "mlartifacts", "data", "results", "ray_results"),
)
"""Folders, wherever they are."""

NOT_NEEDED_AT_THE_TOP = frozenset(("tests", "docs", "benchmarks", "build", "dist", "site"))
NOT_NEEDED_FILES = ("*.pyc", "*.db", "*.db-journal", "*.db-wal", "*.db-shm", ".gitignore", ".rayignore", ".DS_Store")

CREDENTIAL_FOLDERS = frozenset((".aws", ".azure", ".docker", ".gcloud", ".gnupg", ".kube", ".ray", ".ssh"))
CREDENTIAL_FILES = (
    *(".env", ".env.*", ".envrc", "*.env", ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd"),
    *(".git-credentials", ".dockercfg", "kubeconfig*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.keytab"),
    *("*.kdbx", "*.ppk", "*.gpg", "*.asc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "ssh_host_*_key"),
    *("auth_token*", "*_token", "token.txt", "credentials", "credentials.*", "*credentials*.json", "secrets.*", "*.secret"),
    *("service[-_]account*.json", "client_secret*.json"),
)
_SOURCE = ("*.py", "*.pyi")

# At the beginning of a line, or of a text in JSON: so that code that looks for such headers holds none.
_PRIVATE_KEY = re.compile(rb'(?:^|")(?:-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File-)', re.MULTILINE)


def is_not_needed(name: str) -> bool:
    """Whether a file is left out for where it lies or what it is; ``name`` is relative, with ``/``."""
    *folders, file = PurePosixPath(name).parts
    left_out = any(is_folder_not_needed(folder, at_the_top=depth == 0) for depth, folder in enumerate(folders))
    return left_out or _matches(file, NOT_NEEDED_FILES)


def is_folder_not_needed(folder: str, *, at_the_top: bool) -> bool:
    """Whether a folder of this name is left out."""
    return (at_the_top and folder in NOT_NEEDED_AT_THE_TOP) or _matches(folder, NOT_NEEDED)


def is_called_like_a_credential(name: str) -> bool:
    """Whether the name of a file, or of a folder that it lies in, says that it opens something."""
    *folders, file = PurePosixPath(name.lower()).parts
    if CREDENTIAL_FOLDERS.intersection(folders):
        return True
    return _matches(file, CREDENTIAL_FILES) and not _matches(file, _SOURCE)


def holds_a_private_key(path: Path) -> bool:
    """Whether a file contains the header of a private key.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _PRIVATE_KEY.search(content) is not None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
