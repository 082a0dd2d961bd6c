"""The manifests of ``k8s/``, rendered as `kubectl apply -k` does, and what is in them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

__all__ = ["K8S", "OVERLAYS", "PodTemplate", "expand", "find", "iter_pods", "read_env", "render", "render_text", "render_with"]

Manifest = dict[str, Any]

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = ("overlays/single", "overlays/coordinator", "overlays/cron", "overlays/kueue", "argo")


@dataclass(frozen=True, kw_only=True)
class PodTemplate:
    """A pod that a manifest asks for; owner is what holds it, container its only one."""

    owner: Manifest
    labels: Mapping[str, str]
    pod: Manifest
    container: Manifest


@cache
def render(folder: str) -> list[Manifest]:
    """What a folder of ``k8s/`` becomes; shared by all who ask, who leave it as it is."""
    return _kustomize(K8S / folder)


def render_with(scratch: Path, overlay: str, *components: str) -> list[Manifest]:
    """What an overlay becomes with components, in a kustomization such as a user writes."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "mosaics",
        "resources": [f"K8S/{overlay}"],
        "components": [f"K8S/components/{component}" for component in components],
    }
    return render_text(scratch, yaml.safe_dump(kustomization))


def render_text(scratch: Path, kustomization: str) -> list[Manifest]:
    """What a user's kustomization becomes, in a folder from which K8S is the way to ``k8s/``."""
    up = f"{'../' * len(scratch.parts[1:])}{K8S.relative_to('/')}"
    (scratch / "kustomization.yaml").write_text(kustomization.replace("K8S", up))
    return _kustomize(scratch)


@cache
def _find_kubectl() -> str:
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not on this machine, and no registry that CI reaches has a current one under a stable name")
    return found


def _kustomize(folder: Path) -> list[Manifest]:
    done = subprocess.run([_find_kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def find(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Those of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def iter_pods(manifests: Sequence[Manifest]) -> Iterator[PodTemplate]:
    """Every pod that the manifests ask for."""
    for job in find(manifests, "Job"):
        yield _read_template(job, job["spec"]["template"])
    for cron in find(manifests, "CronJob"):
        yield _read_template(cron, cron["spec"]["jobTemplate"]["spec"]["template"])
    for workflow in find(manifests, "WorkflowTemplate"):
        spec = workflow["spec"]
        shared = {key: spec[key] for key in ("serviceAccountName", "automountServiceAccountToken", "securityContext")}
        for template in spec["templates"]:
            if "container" in template:
                pod = {**shared, "containers": [template["container"]], "volumes": template["volumes"]}
                yield _read_template(workflow, {"metadata": spec["podMetadata"], "spec": pod})


def _read_template(owner: Manifest, template: Manifest) -> PodTemplate:
    (container,) = template["spec"]["containers"]
    return PodTemplate(owner=owner, labels=template["metadata"]["labels"], pod=template["spec"], container=container)


def read_env(manifests: Sequence[Manifest], container: Manifest) -> dict[str, str]:
    """A container's variables that are given as they are, by itself or by ConfigMaps."""
    maps = {config["metadata"]["name"]: config["data"] for config in find(manifests, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= maps[source["configMapRef"]["name"]] if "configMapRef" in source else {}
    return found | {entry["name"]: entry["value"] for entry in container.get("env", ()) if "value" in entry}


def expand(arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Arguments with $(NAME) put in, as the kubelet does."""
    return [re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], argument) for argument in arguments]
