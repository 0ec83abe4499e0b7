"""The Kubernetes file is what KubeRay's schema and Kubernetes' own want."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from cluster_files import ROOT, manifests, ray_job
from custom_resource import custom_resource_schema

DEFINITION = ROOT.parent / "shared/kuberay/ray.io_rayjobs.yaml"


@pytest.fixture(scope="module")
def validator() -> Any:
    if not DEFINITION.exists():
        pytest.skip(f"KubeRay's schema is not here: put ray.io_rayjobs.yaml of KubeRay 1.7 into {DEFINITION.parent}")
    return jsonschema.Draft202012Validator(custom_resource_schema(DEFINITION, "v1"))


def test_the_job_is_what_the_operator_expects(validator: Any) -> None:
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(ray_job())] == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda job: job.update(entrypiont=job.pop("entrypoint")),
        lambda job: job["rayClusterSpec"]["workerGroupSpecs"][0].update(replicas="1"),
        lambda job: job["rayClusterSpec"]["headGroupSpec"].pop("template"),
        lambda job: job["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"),
        lambda job: job["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda job: job["rayClusterSpec"]["authOptions"].update(mode="tokens"),
        lambda job: job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0].update(imagee="x"),
    ],
)
def test_a_mistake_in_the_job_is_found(validator: Any, harm: Callable[..., Any]) -> None:
    wrong = copy.deepcopy(ray_job())
    harm(wrong["spec"])
    assert list(validator.iter_errors(wrong))


def test_the_other_objects_are_what_kubernetes_expects() -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed (extra test-cluster)"
    )
    others = [manifest for manifest in manifests() if not manifest["apiVersion"].startswith("ray.io/")]
    assert {manifest["kind"] for manifest in others} == {"PersistentVolumeClaim", "NetworkPolicy"}
    for manifest in others:
        kubernetes_validate.validate(manifest, "1.34", strict=True)
    wrong = copy.deepcopy(others[0])
    wrong["spec"]["accessMode"] = "ReadWriteMany"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


def test_all_pods_use_one_image_and_see_the_sweeps_where_the_entry_point_writes_them() -> None:
    job = ray_job()["spec"]
    cluster = job["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    submitter = job["submitterPodTemplate"]["spec"]["containers"][0]
    assert len({container["image"] for container in [*containers, submitter]}) == 1
    _, script, storage, *_ = job["entrypoint"].split()
    assert script.endswith("clusters/run_or_resume.sh")
    assert all(container["volumeMounts"][0]["mountPath"] == storage for container in containers)
    claims = {group["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] for group in groups}
    assert claims == {manifest["metadata"]["name"] for manifest in manifests() if manifest["kind"] == "PersistentVolumeClaim"}
