"""A program: starts the local cluster as a sweep does, says where it listens, and waits until its input ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from orchestrator.ray_executor.cluster import ray_cluster

LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def listening_inodes() -> dict[str, str]:
    """The local address of each listening TCP socket of this machine, by its inode."""
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {fields[9]: fields[1].rpartition(":")[0] for fields in lines if fields[3] == LISTENS}


def inodes_of(pid: str) -> set[str]:
    try:
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return set()
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def descendants() -> list[str]:
    """The process ids of this process and of all beneath it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[stat.parent.name] = stat.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
    found = [str(os.getpid())]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def main() -> None:
    with ray_cluster(None):
        import ray

        ray.get(ray.remote(listening_inodes).remote())
        sockets = listening_inodes()
        addresses = sorted({sockets[inode] for pid in descendants() for inode in inodes_of(pid) if inode in sockets})
        print(json.dumps({"gcs": ray.get_runtime_context().gcs_address, "addresses": addresses}), flush=True)
        sys.stdin.read()
    left = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")}
    print(json.dumps({"environment": left, "home": os.listdir(Path.home())}), flush=True)


if __name__ == "__main__":
    main()
