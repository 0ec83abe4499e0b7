"""The cluster files of ``ray up`` are what Ray's own schema wants, and what the documents say of them."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_files import CLUSTERS, DOCKERFILE, DOCUMENTS, FILES, KUBERNETES, RAY_CLUSTERS, ROOT, SCRIPTS

FILES_OF_THE_PACKAGE = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
HEALTH_CHECK = re.compile(r"RAY_health_check_(\w+?)(?:_ms)?(?:=|, value: \")(\d+)")


def _validate(cluster: dict[str, Any]) -> dict[str, Any]:
    # Ray has no public way to read a cluster file without starting it.
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    return dict(prepared)


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def test_every_file_is_validated_by_some_test() -> None:
    validated = {
        *RAY_CLUSTERS,
        KUBERNETES,
        DOCKERFILE,
        DOCKERFILE.with_name("Dockerfile.dockerignore"),
        *SCRIPTS,
        CLUSTERS / "README.md",
    }
    assert set(FILES) == validated, "a file of clusters/ that no test of this folder reads, or one that is gone"


@pytest.mark.parametrize("path", RAY_CLUSTERS, ids=lambda path: path.name)
def test_ray_accepts_the_file(path: Path) -> None:
    prepared = _validate(_read(path))
    assert prepared["provider"]["type"] == path.stem and prepared["max_workers"] >= 1


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("local", lambda cluster: cluster.update(idle_timeout="5")),
        ("local", lambda cluster: cluster["auth"].update(ssh_key="x")),
        ("aws", lambda cluster: cluster.update(head_node_type="heads")),
        ("aws", lambda cluster: cluster["available_node_types"]["gpu_spot"].pop("resources")),
        ("gcp", lambda cluster: cluster["available_node_types"]["head"].update(spot=True)),
        ("gcp", lambda cluster: cluster["available_node_types"]["gpu_preemptible"].update(min_workers=11)),
    ],
)
def test_ray_refuses_a_mistake(name: str, harm: Any) -> None:
    cluster = _read(CLUSTERS / f"{name}.yaml")
    harm(cluster)
    with pytest.raises(Exception, match=r"Additional properties|head_node_type|required property|max_workers. is smaller"):
        _validate(cluster)


@pytest.mark.parametrize("path", RAY_CLUSTERS, ids=lambda path: path.name)
def test_what_is_mounted_is_there_and_is_all_that_a_node_needs(path: Path) -> None:
    sources = {source for target, source in _read(path)["file_mounts"].items() if target.startswith("~/memsweep/")}
    assert sources == {"orchestrator", "trainables", "search_spaces", "clusters", *FILES_OF_THE_PACKAGE}
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("path", [*RAY_CLUSTERS, KUBERNETES, CLUSTERS / "slurm.sbatch"], ids=lambda path: path.name)
def test_a_lost_node_is_noticed_in_as_many_seconds_as_the_file_says(path: Path) -> None:
    values = {name: int(value) for name, value in HEALTH_CHECK.findall(path.read_text())}
    seconds = values["failure_threshold"] * (values["period"] + values["timeout"]) / 1000
    assert f"{seconds:g} s" in path.read_text() and 10 <= seconds <= 30


@pytest.mark.parametrize("path", RAY_CLUSTERS[1:], ids=lambda path: path.name)
def test_workers_may_be_taken_away_and_the_head_may_not(path: Path) -> None:
    cluster = _read(path)
    head, (worker,) = cluster["head_node_type"], cluster["available_node_types"].keys() - {cluster["head_node_type"]}
    told = {name: str(node["node_config"]) for name, node in cluster["available_node_types"].items()}
    assert re.search(r"spot|'preemptible': True", told[worker]) and not re.search(r"spot|preemptible", told[head])
    assert cluster["available_node_types"][worker]["min_workers"] == 0 and cluster["idle_timeout_minutes"] <= 10


def test_every_value_to_fill_in_is_described() -> None:
    described = (CLUSTERS / "README.md").read_text()
    wanted = {name for path in FILES if path.suffix != ".md" for name in re.findall(r"FILL_IN_\w+", path.read_text())}
    assert len(wanted) > 10 and {name for name in wanted if f"`{name}`" not in described} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.parent.name)
def test_the_documents_speak_of_files_that_are_there(path: Path) -> None:
    named = set(re.findall(r"\bclusters/[\w./-]+\.(?:yaml|sbatch|sh)\b", path.read_text()))
    assert named and all((ROOT / name).exists() for name in named)


def test_the_versions_are_those_of_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = re.compile(r"\b(ray|torch)(?:\[[\w,]+\])?(?:==|Version: )([\d.]+)")
    named = [(file, *found) for file in [*FILES, *DOCUMENTS] for found in pinned.findall(file.read_text())]
    assert {"ray", "torch"} <= {name for _, name, _ in named} and KUBERNETES in {file for file, _, _ in named}
    assert all(f"\n{name}=={version}\n" in constraints for _, name, version in named), named


KEPT_HERE = ("er/server.pem", "er/server.key", "er/id_ed25519", ".env", ".env.local", "credentials.json", "__pycache__/a.pyc")


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.parametrize("path", RAY_CLUSTERS, ids=lambda path: path.name)
def test_what_is_excluded_stays_and_the_token_and_the_ssh_key_go(path: Path, tmp_path: Path) -> None:
    excluded = [option for pattern in _read(path)["rsync_exclude"] for option in ("--exclude", pattern)]
    for name in (*KEPT_HERE, "code.py", "er/code.py", "auth_token", "id_ed25519", "ray-autoscaler_1_eu.pem"):
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text("x")
    # As Ray does: a folder by its content, a file by itself.
    subprocess.run(["rsync", "-a", *excluded, f"{tmp_path}/here/", f"{tmp_path}/there/"], check=True)
    arrived = {str(file.relative_to(tmp_path / "there")) for file in (tmp_path / "there").rglob("*") if file.is_file()}
    assert {"code.py", "er/code.py"} <= arrived and not arrived & set(KEPT_HERE)
    for name in ("auth_token", "id_ed25519", "ray-autoscaler_1_eu.pem"):
        subprocess.run(["rsync", "-a", *excluded, f"{tmp_path}/here/{name}", f"{tmp_path}/copied"], check=True)
        assert (tmp_path / "copied").read_text() == "x"
        (tmp_path / "copied").unlink()
