"""The manifests render, are valid, give pods no right that they do not need, and call the program as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from effort import crossed
from kubernetes_fake import NEEDED_RIGHTS
from manifests import K8S, OVERLAYS, PodTemplate, expand, find, iter_pods, read_env, render, render_text, render_with

from processor.cli import commands as cli
from processor.config import load_config
from processor.config.general import Kubernetes
from processor.execution.kubernetes.jobs import CONTAINER, FINAL_CODES, USER, PhaseJob, build_job, read_worker

ROOT = K8S.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPONENTS = ("spot", "queue", "secret", "identity-eks", "identity-gke", "identity-aks")
# The first with all that is used at least in beta and on by default, the first where it is final, and the newest that is known.
CLUSTERS = ("1.31", "1.33", "1.37")

JOBS = tuple(overlay for overlay in OVERLAYS if overlay != "argo")
each = pytest.mark.parametrize("overlay", OVERLAYS)
each_of_jobs = pytest.mark.parametrize("overlay", JOBS)  # Argo's pods are not asked for by Jobs, which components change


def pods_of(overlay: str) -> list[PodTemplate]:
    found = list(iter_pods(render(overlay)))
    assert found
    return found


def _settings_of(manifests: list[dict[str, Any]], found: PodTemplate) -> dict[str, str]:
    """The parameters that a pod is given."""
    return {name: text for name, text in read_env(manifests, found.container).items() if name.startswith("MOSAIC_")}


@each
@pytest.mark.parametrize("version", CLUSTERS)
def test_every_object_is_valid_and_has_documented_fields_only(overlay: str, version: str) -> None:
    for manifest in render(overlay):
        if manifest["apiVersion"] != "argoproj.io/v1alpha1":
            kubernetes_validate.validate(manifest, version, strict=True)


@each_of_jobs
def test_every_component_goes_with_every_overlay_that_it_is_for(overlay: str, tmp_path: Path) -> None:
    usable = [name for name in COMPONENTS if name != "queue" or overlay in {"overlays/coordinator", "overlays/single"}]
    plain = {(m["kind"], m["metadata"]["name"].partition("-run-")[0]) for m in render(overlay)}
    for manifest in (manifests := render_with(tmp_path, overlay, *usable)):
        kubernetes_validate.validate(manifest, CLUSTERS[-1], strict=True)
    assert plain <= {(m["kind"], m["metadata"]["name"].partition("-run-")[0]) for m in manifests}
    assert {pod.owner["metadata"]["name"] for pod in iter_pods(manifests)} == {
        pod.owner["metadata"]["name"] for pod in pods_of(overlay)
    }


@each
def test_everything_is_in_one_namespace_that_demands_the_strictest_standard(overlay: str) -> None:
    manifests = render(overlay)
    (namespace,) = find(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    name = namespace["metadata"]["name"]
    assert {manifest["metadata"]["namespace"] for manifest in manifests if manifest is not namespace} == {name}


@each
def test_another_namespace_takes_everything_along(overlay: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    layers = {"team": f"K8S/{overlay}", "stage": "../one"}
    manifests: list[dict[str, Any]] = []
    for folder, (namespace, resource) in zip(folders, layers.items(), strict=True):
        manifests = render_text(folder, f"namespace: {namespace}\nresources: [{resource}]\n")
        assert "mosaics" not in find_namespaces(manifests)
        assert find_namespaces(manifests) == {namespace}


def find_namespaces(found: Any) -> set[str]:
    """Every namespace that manifests name."""
    if isinstance(found, list):
        return {name for member in found for name in find_namespaces(member)}
    if not isinstance(found, dict):
        return set()
    own = {found["metadata"]["name"]} if found.get("kind") == "Namespace" else set()
    own |= {found["namespace"]} if isinstance(found.get("namespace"), str) else set()
    return own | {name for member in found.values() for name in find_namespaces(member)}


@each
def test_applying_again_changes_nothing(overlay: str) -> None:
    """Rendering gives the same again, and no field that the API server drops, or a controller sets, is set by each apply."""
    manifests = render(overlay)
    assert manifests == render_text_of(overlay)
    for manifest in manifests:
        assert "generateName" not in manifest["metadata"]
        assert "status" not in manifest
        assert not list(find_hollow(manifest))
        assert "suspend" not in manifest.get("spec", {}), "Kueue would have to admit it again"


def render_text_of(overlay: str) -> list[dict[str, Any]]:
    """What an overlay becomes, not remembered."""
    return list(render.__wrapped__(overlay))


def find_hollow(found: Any, path: str = "") -> Iterator[str]:
    """Places of empty lists and nulls, which the API server leaves out of what it keeps."""
    if found is None or found == []:
        yield path
    members = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for name, member in members:
        yield from find_hollow(member, f"{path}/{name}")


@each
def test_pods_run_without_root_privileges_or_a_place_to_write_but_scratch(overlay: str) -> None:
    for found in pods_of(overlay):
        assert found.pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert found.container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert found.container["volumeMounts"] == [{"name": "scratch", "mountPath": "/scratch"}]
        (volume,) = found.pod["volumes"]
        assert set(volume) == {"name", "emptyDir"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(found.pod)


@each
def test_memory_and_disk_are_promised_in_full_and_scratch_has_a_bound(overlay: str) -> None:
    for found in pods_of(overlay):
        resources = found.container["resources"]
        for name in ("memory", "ephemeral-storage"):
            assert resources["requests"][name] == resources["limits"][name]
        gib = [
            int(text.removesuffix("Gi"))
            for text in (found.pod["volumes"][0]["emptyDir"]["sizeLimit"], resources["limits"]["ephemeral-storage"])
        ]
        assert gib[0] < gib[1], "the log counts as storage, too"


@each
def test_pods_fit_the_smallest_usual_nodes_and_compute_with_what_they_ask_for(overlay: str) -> None:
    """Nodes of 2 processors, 4 GiB and 20 GB of disk; what a node has beyond that is no reason for more threads."""
    for found in pods_of(overlay):
        asked = found.container["resources"]["requests"]
        assert parse_cpu(asked["cpu"]) <= 1.5
        assert int(asked["memory"].removesuffix("Gi")) <= 2
        assert int(asked["ephemeral-storage"].removesuffix("Gi")) <= 14
        threads = [entry for entry in found.container.get("env", ()) if entry["name"] == "MOSAIC_SHARED__TILE_THREADS"]
        source = {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1"}}
        assert [entry["valueFrom"] for entry in threads] == ([] if overlay == "overlays/coordinator" else [source])
        assert "MOSAIC_SHARED__TILE_THREADS" not in read_env(render(overlay), found.container)


def parse_cpu(text: str) -> float:
    """Processors of a quantity."""
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def test_workers_ask_for_no_more_than_the_single_job() -> None:
    (single,) = pods_of("overlays/single")
    assert parse_cpu(single.container["resources"]["requests"]["cpu"]) == Kubernetes().cpu


@each
def test_the_user_is_that_of_the_image(overlay: str) -> None:
    assert f"USER {USER}:{USER}\n" in (ROOT / "Dockerfile").read_text()
    assert {found.pod["securityContext"]["runAsUser"] for found in pods_of(overlay)} == {USER}


@each_of_jobs
def test_exit_codes_decide_and_disruption_is_asked_first(overlay: str) -> None:
    for found in pods_of(overlay):
        spec = (
            found.owner["spec"].get("jobTemplate", found.owner)["spec"]
            if found.owner["kind"] == "CronJob"
            else found.owner["spec"]
        )
        assert spec["podFailurePolicy"]["rules"] == [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(FINAL_CODES)},
            },
        ]
        assert found.pod["restartPolicy"] == "Never"
        assert found.container["name"] == CONTAINER
        assert spec["activeDeadlineSeconds"] > 0
        assert found.pod["terminationGracePeriodSeconds"] >= 10


@each
def test_only_the_coordinator_has_a_token(overlay: str) -> None:
    manifests = render(overlay)
    assert all(account["automountServiceAccountToken"] is False for account in find(manifests, "ServiceAccount"))
    expected = overlay == "overlays/coordinator"
    for found in pods_of(overlay):
        assert found.pod["automountServiceAccountToken"] is expected
        assert found.pod["serviceAccountName"] == ("mosaic-coordinator" if expected else "mosaic-worker")


@each
def test_rights_are_those_that_the_executor_uses_and_nobody_elses(overlay: str) -> None:
    manifests = render(overlay)
    assert not find(manifests, "ClusterRole")
    assert not find(manifests, "ClusterRoleBinding")
    rights = {
        (verb, resource)
        for role in find(manifests, "Role")
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    holders = {subject["name"] for binding in find(manifests, "RoleBinding") for subject in binding["subjects"]}
    expected: dict[str, tuple[set[Any], set[str]]] = {
        "overlays/coordinator": (set(NEEDED_RIGHTS), {"mosaic-coordinator"}),
        "argo": ({("create", "workflowtaskresults"), ("patch", "workflowtaskresults")}, {"mosaic-argo-executor"}),
    }
    assert (rights, holders) == expected.get(overlay, (set(), set()))
    groups = {tuple(rule["apiGroups"]) for role in find(manifests, "Role") for rule in role["rules"]}
    assert groups <= {("batch",), ("",), ("argoproj.io",)}


@each
def test_the_network_lets_nobody_in_and_covers_every_pod(overlay: str) -> None:
    policies = find(render(overlay), "NetworkPolicy")
    (shared,) = (policy for policy in policies if policy["metadata"]["name"] == "mosaic-processor")
    assert set(shared["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert all(not policy["spec"].get("ingress") for policy in policies)
    assert {port["port"] for rule in shared["spec"]["egress"] for port in rule["ports"]} == {53, 443}
    names, web = shared["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in names["to"], "NodeLocal DNSCache"
    assert "169.254.0.0/16" in web["to"][0]["ipBlock"]["except"]
    for found in pods_of(overlay):
        assert shared["spec"]["podSelector"]["matchLabels"].items() <= found.labels.items()


@each
def test_no_secret_has_a_value_here(overlay: str) -> None:
    for manifest in render(overlay):
        assert manifest["kind"] != "Secret" or not {"data", "stringData"} & set(manifest)
    for found in pods_of(overlay):
        names = [entry["name"] for entry in found.container.get("env", ())] + list(read_env(render(overlay), found.container))
        assert not [name for name in names if re.search("SECRET|TOKEN|PASSWORD|ACCESS_KEY", name)]


@each
def test_images_are_of_this_version(overlay: str) -> None:
    for found in pods_of(overlay):
        image = found.container["image"]
        if overlay == "argo":
            values = {parameter["name"]: parameter["value"] for parameter in found.owner["spec"]["arguments"]["parameters"]}
            image = image.replace("{{workflow.parameters.image}}", values["image"])
        assert image.endswith(f"/mosaic-processor:{VERSION}")


@each_of_jobs
def test_what_is_called_is_the_command_as_it_is(overlay: str) -> None:
    manifests = render(overlay)
    for found in pods_of(overlay):
        variables = read_env(manifests, found.container)
        arguments = expand(found.container["args"], variables)
        options = cli.build_parser().parse_args(arguments)
        assert options.output == variables["OUTPUT"]
        load_config(environment=_settings_of(manifests, found))


@each_of_jobs
def test_tolerations_reach_every_pod(overlay: str, tmp_path: Path) -> None:
    for found in iter_pods(render_with(tmp_path, overlay, "spot")):
        assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority", "karpenter.sh/capacity-type"} == {
            toleration["key"] for toleration in found.pod["tolerations"]
        }


@each_of_jobs
def test_keys_come_from_a_secret_by_reference(overlay: str, tmp_path: Path) -> None:
    for found in iter_pods(render_with(tmp_path, overlay, "secret")):
        assert found.container["envFrom"][-1] == {"secretRef": {"name": "mosaic-storage"}}


@crossed(
    "overlay identity",
    JOBS,
    [
        ("identity-eks", "eks.amazonaws.com/role-arn"),
        ("identity-gke", "iam.gke.io/gcp-service-account"),
        ("identity-aks", "azure.workload.identity/client-id"),
    ],
)
def test_workload_identity_is_given_to_every_account(overlay: str, identity: tuple[str, str], tmp_path: Path) -> None:
    component, annotation = identity
    manifests = render_with(tmp_path, overlay, component)
    accounts = find(manifests, "ServiceAccount")
    assert {pod.pod["serviceAccountName"] for pod in iter_pods(manifests)} <= {a["metadata"]["name"] for a in accounts}
    assert all(annotation in account["metadata"]["annotations"] for account in accounts)


@each_of_jobs
def test_azures_webhook_is_asked_by_a_label_of_every_pod(overlay: str, tmp_path: Path) -> None:
    manifests = render_with(tmp_path, overlay, "identity-aks")
    labels = [job["spec"]["template"]["metadata"]["labels"] for job in find(manifests, "Job")]
    labels += [job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] for job in find(manifests, "CronJob")]
    assert labels
    assert all(found["azure.workload.identity/use"] == "true" for found in labels)


@each
def test_the_readme_tells_how_each_is_applied(overlay: str) -> None:
    text = (K8S / "README.md").read_text()
    assert f"-k k8s/{overlay}" in text
    assert all(f"components/{component}" in text for component in COMPONENTS)
    assert set(re.findall(r"k8s/((?:overlays|components)/[\w-]+|argo)", text)) <= {
        *OVERLAYS,
        *(f"components/{component}" for component in COMPONENTS),
    }


@pytest.mark.parametrize("namespace", ["mosaics", "team"])
def test_the_readmes_own_kustomization_renders(namespace: str, tmp_path: Path) -> None:
    example, _ = re.findall(r"```yaml\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    example = example.replace("namespace: mosaics\n", f"namespace: {namespace}\n").replace("../mosaic-processor/k8s", "K8S")
    manifests = render_text(tmp_path, example)
    assert find_namespaces(manifests) == {namespace}
    (found,) = iter_pods(manifests)
    assert found.container["image"] == f"registry.example.com/team/mosaic-processor:{VERSION}"
    assert load_config(environment=_settings_of(manifests, found)).kubernetes.shards == 50
    assert found.pod["tolerations"]


def test_the_readmes_own_policy_is_for_every_pod(tmp_path: Path) -> None:
    (policy,) = (
        text for text in re.findall(r"```yaml\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL) if "Egress" in text
    )
    (tmp_path / "storage-policy.yaml").write_text(policy)
    manifests = render_text(tmp_path, "namespace: team\nresources: [K8S/overlays/single, storage-policy.yaml]\n")
    (added,) = (one for one in find(manifests, "NetworkPolicy") if one["metadata"]["name"] == "mosaic-storage")
    kubernetes_validate.validate(added, CLUSTERS[-1], strict=True)
    (found,) = iter_pods(manifests)
    assert added["spec"]["podSelector"]["matchLabels"].items() <= found.labels.items()


def test_the_readme_makes_the_namespace_before_the_secret_in_it() -> None:
    text = (K8S / "README.md").read_text()
    secret = text.index("create secret")
    block = text[text.rindex("```sh", 0, secret) : secret]
    assert "kubectl apply -k k8s/base" in block
    assert "logs --follow job/" not in text, "shows the first pod, dead or not"
    (namespace,) = find(render("base"), "Namespace")
    assert f"-n {namespace['metadata']['name']} create secret" in text


# ---- of single overlays


def test_a_queued_job_names_its_queue_whose_webhook_suspends_it() -> None:
    (job,) = find(render("overlays/kueue"), "Job")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "mosaics"


def test_a_coordinator_has_its_workers_queued_and_is_not_itself(tmp_path: Path) -> None:
    manifests = render_with(tmp_path, "overlays/coordinator", "queue")
    (found,) = iter_pods(manifests)
    assert read_env(manifests, found.container)["MOSAIC_KUBERNETES__QUEUE"] == "mosaics"
    assert "suspend" not in found.owner["spec"]


def test_workers_of_a_coordinator_are_as_safe_as_it_and_have_less_rights(tmp_path: Path) -> None:
    manifests = render_with(tmp_path, "overlays/coordinator", "spot", "secret")
    (coordinator,) = iter_pods(manifests)
    settings = load_config(environment=_settings_of(manifests, coordinator)).kubernetes
    worker = read_worker(coordinator.owner["spec"]["template"], settings)
    assert worker is not None
    phase = PhaseJob(phase="render", tasks=9, shards=3, memory_bytes=2**30, scratch_bytes=2**31, deadline_seconds=3600)
    job = build_job(phase, worker, settings, run_url="s3://example-bucket/run")
    kubernetes_validate.validate(job, CLUSTERS[0], strict=True)
    (found,) = iter_pods([job])
    assert found.pod["securityContext"] == coordinator.pod["securityContext"]
    assert found.container["securityContext"] == coordinator.container["securityContext"]
    assert found.pod["tolerations"] == coordinator.pod["tolerations"]
    assert found.container["envFrom"] == coordinator.container["envFrom"]
    assert found.pod["automountServiceAccountToken"] is False
    assert found.pod["serviceAccountName"] in {a["metadata"]["name"] for a in find(manifests, "ServiceAccount")}
    assert found.pod["serviceAccountName"] != coordinator.pod["serviceAccountName"]
    for policy in find(manifests, "NetworkPolicy"):
        is_shared = policy["metadata"]["name"] == "mosaic-processor"
        assert (policy["spec"]["podSelector"]["matchLabels"].items() <= found.labels.items()) is is_shared
    assert isinstance(settings, Kubernetes)


def test_the_workflow_has_the_phases_in_order_and_calls_each_as_it_is() -> None:
    (workflow,) = find(render("argo"), "WorkflowTemplate")
    templates = {template["name"]: template for template in workflow["spec"]["templates"]}
    values = {f"workflow.parameters.{p['name']}": p["value"] for p in workflow["spec"]["arguments"]["parameters"]}
    values |= {"steps.plan.outputs.result": "s3://example-bucket/run", "item": "3"}
    called = []
    for (step,) in templates[workflow["spec"]["entrypoint"]]["steps"]:
        given = {
            f"inputs.parameters.{p['name']}": fill(p["value"], values) for p in step.get("arguments", {}).get("parameters", ())
        }
        template = templates[step["template"]]
        assert {f"inputs.parameters.{p['name']}" for p in template.get("inputs", {}).get("parameters", ())} == set(given)
        called.append([fill(argument, values | given) for argument in template["container"]["args"]])
        if "withSequence" in step:
            assert fill(step["withSequence"]["count"], values) == given["inputs.parameters.shards"]
        else:
            assert given.get("inputs.parameters.shards", "1") == "1"
    assert [words[0] if words[0] == "plan" else words[1] for words in called] == [
        "plan",
        "measure",
        "blocks",
        "solve",
        "render",
        "assemble",
    ]
    for words in called:
        cli.build_parser().parse_args(words)


def fill(text: str, values: dict[str, str]) -> str:
    """Text with Argo's {{name}} filled in."""
    return re.sub(r"\{\{([\w.-]+)\}\}", lambda name: values[name[1]], text)


def test_the_workflow_repeats_nothing_that_cannot_pass() -> None:
    (workflow,) = find(render("argo"), "WorkflowTemplate")
    strategies = [template["retryStrategy"] for template in workflow["spec"]["templates"] if "container" in template]
    assert [strategy["expression"] for strategy in strategies] == [
        f"!(asInt(lastRetry.exitCode) in {list(FINAL_CODES)})"
    ] * len(strategies)
