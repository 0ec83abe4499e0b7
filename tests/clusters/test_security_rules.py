"""The cluster files and the documented commands keep the rules; a counter-example of each shows that they could fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from cluster_files import ALL_CODE, DOCUMENTS, RAY_CLUSTERS, Code, commands, manifests
from security_rules import RAY_CLUSTER_RULES, TEXT_RULES, kubernetes_is_closed

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("code", ALL_CODE, ids=lambda code: code.place)
@pytest.mark.parametrize("rule", TEXT_RULES)
def test_every_file_and_documented_command_keeps_the_rule(rule: str, code: Code) -> None:
    assert not TEXT_RULES[rule](code.text), code.place


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("nothing_open_to_everyone", "ray start --head --dashboard-host=0.0.0.0"),
        ("nothing_open_to_everyone", "IpRanges: [{CidrIp: 0.0.0.0/0}]"),
        ("nothing_open_to_everyone", "CidrIpv6: ::/0"),
        ("every_ray_asks_for_the_token", "ray start --head --dashboard-host=127.0.0.1"),
        ("every_ray_asks_for_the_token", "$ ray submit clusters/local.yaml orchestrator/submit.py"),
        ("every_ray_asks_for_the_token", "RAY_AUTH_MODE=disabled ray start --head --dashboard-host=127.0.0.1"),
        ("every_ray_asks_for_the_token", "ray job submit --address x -- RAY_AUTH_MODE=token true"),
        ("every_ray_asks_for_the_token", "  - >-\n    ulimit -n 65536;\n    ray start\n    --address=$RAY_HEAD_IP:6379\n"),
        ("every_ray_asks_for_the_token", "srun ray \\\n  status\nsrun ray status\nexport RAY_AUTH_MODE=token"),
        ("dashboards_stay_on_loopback", "RAY_AUTH_MODE=token ray start --head --port=6379"),
        ("dashboards_stay_on_loopback", "RAY_AUTH_MODE=token ray start --head --dashboard-host=10.0.0.1"),
        ("dashboards_stay_on_loopback", 'rayStartParams: {dashboard-host: "10.0.0.1"}'),
        ("dashboards_stay_on_loopback", "ssh -L 10.0.0.5:8265:127.0.0.1:8265 head"),
        ("images_are_pinned", "FROM python:3.11"),
        ("images_are_pinned", "FROM python:3.11.15-slim-bookworm"),
        ("images_are_pinned", "          image: rayproject/ray:latest"),
        ("images_are_pinned", f"          image: rayproject/ray@{DIGEST}"),
        ("images_are_pinned", "sourceImage: projects/p/global/images/family/common"),
        ("images_are_pinned", "  - pip install ray"),
        ("no_secrets", "POSTGRES_PASSWORD=hunter2"),
        ("no_secrets", "password: changeme"),
        ("no_secrets", "export RAY_AUTH_TOKEN=abcdefgh12345678"),
        ("no_secrets", "aws_key AKIAIOSFODNN7EXAMPLE"),
        ("no_secrets", "postgresql+psycopg2://mlflow:mlflow@127.0.0.1/mlflow"),
        ("no_secrets", "0123456789abcdef0123456789abcdef"),
        ("no_secrets", "-----BEGIN OPENSSH PRIVATE KEY-----"),
        ("trackers_are_closed", "mlflow server --port 5000"),
        ("trackers_are_closed", "mlflow server --host 10.0.0.1 --workers 1 --allowed-hosts '*'"),
        ("trackers_are_closed", "mlflow server --host 10.0.0.1 --allowed-hosts 'mlflow:5000'"),
    ],
)
def test_a_counter_example_breaks_the_rule(rule: str, text: str) -> None:
    assert TEXT_RULES[rule](text)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("every_ray_asks_for_the_token", "export RAY_AUTH_MODE=token\nray status"),
        ("every_ray_asks_for_the_token", "ray stop\nRAY_AUTH_MODE=token ray status"),
        ("dashboards_stay_on_loopback", "ssh -N -L 8265:127.0.0.1:8265 head"),
        ("images_are_pinned", f"FROM python:3.11.15-slim-bookworm@{DIGEST}"),
        ("no_secrets", "RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom)"),
        ("no_secrets", "postgresql+psycopg2://mlflow:$PGPASSWORD@127.0.0.1/mlflow"),
        ("no_secrets", f"image@{DIGEST}"),
    ],
)
def test_what_is_right_is_not_refused(rule: str, text: str) -> None:
    assert not TEXT_RULES[rule](text)


@pytest.mark.parametrize("path", RAY_CLUSTERS, ids=lambda path: path.name)
@pytest.mark.parametrize("rule", RAY_CLUSTER_RULES, ids=lambda rule: rule.__name__)
def test_every_cluster_of_ray_keeps_the_rule(rule: Callable[..., list[str]], path: Any) -> None:
    assert not rule(yaml.safe_load(path.read_text()))


def _worse(kind: str, place: list[str], value: Any) -> dict[str, Any]:
    """A shipped cluster file with one value set, or removed where it is None."""
    cluster = yaml.safe_load(next(path for path in RAY_CLUSTERS if path.stem == kind).read_text())
    inner = copy.deepcopy(cluster)
    found = inner
    for key in place[:-1]:
        found = found[key]
    if value is None:
        del found[place[-1]]
    else:
        found[place[-1]] = value
    return inner


@pytest.mark.parametrize(
    ("kind", "place", "value", "rule"),
    [
        ("aws", ["available_node_types", "head", "node_config", "SecurityGroupIds"], None, 0),
        ("aws", ["available_node_types", "gpu_spot", "node_config", "SecurityGroupIds"], [], 0),
        ("aws", ["provider", "security_group"], {"GroupName": "g"}, 0),
        ("aws", ["available_node_types", "gpu_spot", "node_config", "MetadataOptions"], {}, 0),
        ("gcp", ["available_node_types", "head", "node_config", "networkInterfaces"], None, 0),
        ("local", ["file_mounts", "~/.ray/auth_token"], None, 1),
        ("local", ["file_mounts", "~/.ray/auth_token"], "clusters/auth_token", 1),
        ("gcp", ["file_mounts", "~/memsweep"], ".", 2),
        ("local", ["rsync_exclude"], ["sweeps/"], 2),
    ],
)
def test_a_worse_cluster_of_ray_breaks_a_rule(kind: str, place: list[str], value: Any, rule: int) -> None:
    assert RAY_CLUSTER_RULES[rule](_worse(kind, place, value))


def test_the_job_on_kubernetes_is_closed() -> None:
    assert not kubernetes_is_closed(manifests())


@pytest.mark.parametrize(
    "harm",
    [
        lambda job, policy: job["rayClusterSpec"].pop("authOptions"),
        lambda job, policy: job["rayClusterSpec"]["authOptions"].update(mode="disabled"),
        lambda job, policy: job["rayClusterSpec"]["headGroupSpec"].update(serviceType="LoadBalancer"),
        lambda job, policy: job["rayClusterSpec"]["headGroupSpec"].update(enableIngress=True),
        lambda job, policy: job["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"].pop("labels"),
        lambda job, policy: job["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"].pop("securityContext"),
        lambda job, policy: job["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"].update(hostNetwork=True),
        lambda job, policy: job["submitterPodTemplate"]["spec"]["containers"][0].pop("securityContext"),
        lambda job, policy: policy["ingress"].append({"ports": [{"port": 8265}]}),
        lambda job, policy: policy.update(policyTypes=["Egress"]),
    ],
)
def test_a_worse_job_on_kubernetes_breaks_a_rule(harm: Callable[..., Any]) -> None:
    worse = copy.deepcopy(manifests())
    specs = {manifest["kind"]: manifest["spec"] for manifest in worse}
    harm(specs["RayJob"], specs["NetworkPolicy"])
    assert kubernetes_is_closed(worse)


def test_the_documents_show_commands_for_the_rules_to_read() -> None:
    shown = [line for code in ALL_CODE if code.path in DOCUMENTS for line in commands(code.text)]
    for wanted in ("ray up", "ray submit", "ray exec", "ray job submit", "ray down", "kubectl apply", "sbatch", "mlflow server"):
        assert any(wanted in line for line in shown), wanted
