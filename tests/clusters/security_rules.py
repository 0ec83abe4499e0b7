"""What no cluster file and no documented command may do. Each rule takes text and returns what is wrong with it, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cluster_files import commands

Rule = Callable[[str], list[str]]

_TALKS_TO_A_CLUSTER = re.compile(
    r"\bray (?:start|up|down|attach|exec|submit|rsync-up|rsync-down|status|dashboard|job|symmetric-run|memory|list|summary)\b"
)
_FILLED_IN = r"(?:\$|FILL_IN|\{\{)"
_SECRETS = {
    "a password": rf"(?i)(?:password|passwd|secret|api_?key)\w*\s*[=:]\s*[\"']?(?!{_FILLED_IN}|[\"'\s{{\[]|KeyRef)[^\s\"']",
    "a token": rf"(?i)\b\w*token\s*=\s*[\"']?(?!{_FILLED_IN})[0-9a-z]{{8}}",
    "a key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a long hexadecimal number": r"(?<!sha256:)(?<![0-9a-f])[0-9a-f]{32,}(?![0-9a-f])",
    "a password in a URL": rf"://[^/\s:@\"']+:(?!{_FILLED_IN})[^/\s@\"']+@",
}
_IMAGE = re.compile(r"^\s*(?:FROM|image:|(?:head_|worker_)?image:)\s+(?:&\w+\s+)?(\S+)", re.MULTILINE)
_LOOPBACK = r"(?:127\.0\.0\.1|localhost)\b"
_EXACT = re.compile(r"(?:.+/)?[\w.-]+:\d+(?:\.\d+)+[\w.-]*@sha256:(?:[0-9a-f]{64}|FILL_IN_DIGEST)|\*\w+")


def nothing_open_to_everyone(text: str) -> list[str]:
    """No address that means every interface or the whole world."""
    return [f"open to everyone: {found}" for found in re.findall(r"0\.0\.0\.0(?:/0)?|::/0|\[::\]|--host[= ]::", text)]


def every_ray_asks_for_the_token(text: str) -> list[str]:
    """``RAY_AUTH_MODE=token`` stands on each line that talks to a cluster, or has been exported before it."""
    exported, found = False, []
    for line in commands(text):
        exported = exported or bool(re.search(r"^export\b.*\bRAY_AUTH_MODE=token\b", line))
        before = re.split(_TALKS_TO_A_CLUSTER, line)
        if len(before) > 1 and not exported and "RAY_AUTH_MODE=token" not in before[0] and not line.startswith("echo "):
            found.append(f"without RAY_AUTH_MODE=token: {line}")
        if match := re.search(r"RAY_AUTH_MODE=(?!token\b)\S*", line):
            found.append(f"authentication is off: {match[0]}")
    return found


def dashboards_stay_on_loopback(text: str) -> list[str]:
    """Each ``ray start --head`` binds the dashboard to loopback, in so many words; so does each ``ssh -L``."""
    found = [f"a dashboard on {host}" for host in re.findall(rf"dashboard-host: *\"?(?!{_LOOPBACK})([^\s\"]+)", text)]
    for line in commands(text):
        if re.search(r"\bray start\b.*--head\b", line) and not re.search(rf"--dashboard-host[= ]{_LOOPBACK}", line):
            found.append(f"the dashboard is not on loopback: {line}")
        tunnels = re.findall(rf"-L *(?!{_LOOPBACK}|\d+:)\S+", line)
        found += [f"a tunnel that others can use: {tunnel}" for tunnel in tunnels]
    return found


def images_are_pinned(text: str) -> list[str]:
    """Container images by exact version and digest; images of machines not by family; packages by version or constraint."""
    found = [f"not by exact tag and digest: {image}" for image in _IMAGE.findall(text) if not _EXACT.fullmatch(image)]
    found += [f"the newest of a family: {family}" for family in re.findall(r"images/family/\S+|:latest\b|latest_dlami", text)]
    for line in commands(text):
        if re.search(r"\bpip install\b", line) and "--constraint constraints.txt" not in line:
            found.append(f"not under constraints.txt: {line}")
    return found


def no_secrets(text: str) -> list[str]:
    """Nothing that looks like one; a variable, a reference or a value to fill in may stand there."""
    return [f"{what}: {match[0]}" for what, pattern in _SECRETS.items() for match in re.finditer(pattern, text)]


def trackers_are_closed(text: str) -> list[str]:
    """An ``mlflow server`` listens on loopback or one named address, knows its hosts' names, and has one worker."""
    found = []
    for line in commands(text):
        if re.search(r"\bmlflow server\b", line):
            missing = [option for option in ("--host ", "--allowed-hosts ", "--workers 1") if option not in line]
            found += [f"mlflow server without {option.strip()}" for option in missing]
            if "--disable-security-middleware" in line or re.search(r"--allowed-hosts\s+['\"]?\*", line):
                found.append("mlflow server answers to any name")
    return found


TEXT_RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        nothing_open_to_everyone,
        every_ray_asks_for_the_token,
        dashboards_stay_on_loopback,
        images_are_pinned,
        no_secrets,
        trackers_are_closed,
    )
}


def machines_are_behind_a_closed_group(cluster: Mapping[str, Any]) -> list[str]:
    """Of a cluster file of Ray: nodes of AWS and Google Cloud are in a security group or network of the user's own."""
    kind = cluster["provider"]["type"]
    wanted = {"aws": "SecurityGroupIds", "gcp": "networkInterfaces"}.get(kind)
    found = []
    if "security_group" in cluster["provider"]:
        found.append("Ray would make a security group, with port 22 open to the world")
    for name, node in cluster.get("available_node_types", {}).items():
        if wanted and not node["node_config"].get(wanted):
            found.append(f"{name} has no {wanted}: Ray would take or make one that is open")
        if kind == "aws" and node["node_config"].get("MetadataOptions", {}).get("HttpTokens") != "required":
            found.append(f"{name} answers requests for its credentials without a session (MetadataOptions)")
    return found


def tokens_come_from_outside(cluster: Mapping[str, Any]) -> list[str]:
    """Of a cluster file of Ray: the token is copied to where Ray looks for it, from a file outside of the repository."""
    source = cluster.get("file_mounts", {}).get("~/.ray/auth_token", "")
    return [] if source.startswith("~/") else ["no token is copied from a file in the home folder"]


def only_the_sweep_is_mounted(cluster: Mapping[str, Any]) -> list[str]:
    """Of a cluster file of Ray: the repository is not mounted as a whole, and what is mounted leaves secrets and data out."""
    mounts = cluster.get("file_mounts", {})
    whole = [f"the whole folder {source} is copied" for source in mounts.values() if source.rstrip("/") in (".", "..", "~", "")]
    needed = {".git/", ".venv/", "sweeps/", ".env*", "credentials*", "*/*.pem", "*/*.key"}
    missing = sorted(needed - set(cluster.get("rsync_exclude", [])))
    return [*whole, *([f"rsync_exclude lacks {missing}"] if missing else [])]


RAY_CLUSTER_RULES = (machines_are_behind_a_closed_group, tokens_come_from_outside, only_the_sweep_is_mounted)


def pods(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every pod template in a manifest."""
    for value in manifest.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                if "containers" in item.get("spec", {}):
                    yield item
                else:
                    yield from pods(item)


def kubernetes_is_closed(manifests: list[dict[str, Any]]) -> list[str]:
    """Token authentication; services inside the cluster; pods without privileges, that a network policy protects."""
    found = []
    policies = [manifest["spec"] for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    selected = [policy["podSelector"].get("matchLabels") for policy in policies if "Ingress" in policy["policyTypes"]]
    for job in (manifest for manifest in manifests if manifest["kind"] == "RayJob"):
        cluster = job["spec"]["rayClusterSpec"]
        if cluster.get("authOptions", {}).get("mode") != "token":
            found.append("authOptions.mode is not token")
        if cluster["headGroupSpec"].get("serviceType") != "ClusterIP" or cluster["headGroupSpec"].get("enableIngress"):
            found.append("the head can be reached from outside")
        for pod in pods(job):
            found += _pod_is_closed(pod, selected)
    for policy in policies:
        found += ["a network policy lets everyone in" for rule in policy.get("ingress", []) if not rule.get("from")]
    return found


def _pod_is_closed(pod: Mapping[str, Any], selected: list[Any]) -> Iterator[str]:
    labels, spec = pod.get("metadata", {}).get("labels", {}), pod["spec"]
    name = spec["containers"][0]["name"]
    if not any(wanted is not None and wanted.items() <= labels.items() for wanted in selected):
        yield f"no network policy protects {name}"
    if spec.get("securityContext", {}).get("runAsNonRoot") is not True:
        yield f"{name} may run as root"
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")) or any(
        "hostPath" in volume for volume in spec.get("volumes", [])
    ):
        yield f"{name} shares the node's network, processes or files"
    for container in spec["containers"]:
        context = container.get("securityContext", {})
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may gain privileges"
