"""The Kubernetes manifests: kustomize's output, held against Kubernetes' schemas and our own programs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from oncelog.domain.stored_names import INSTANCE_TOPIC, ONCELOG
from oncelog.settings import Settings, variables
from oncelog.stores.kafka.subscription import projector_group
from oncelog.worker import DRAIN_TIMEOUT
from tests.packaging.dockerfile import instructions

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = ("1.33", "1.37")  # the oldest and the newest that are looked at
#: Objects whose schemas come with an operator, and so lie in no package.
OPERATORS = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}
PROGRAMS = {
    "worker": "oncelog-worker",
    "projector-documents": "oncelog-projector",
    "projector-graph": "oncelog-projector",
}


def manifests() -> list[dict[str, Any]]:
    """Return every object as it is written, before any overlay."""
    paths = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


MANIFESTS = manifests()
DEPLOYMENTS = {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == "Deployment"}


def container(name: str) -> dict[str, Any]:
    (only,) = DEPLOYMENTS[name]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def label(each: dict[str, Any]) -> str:
    return f"{each['kind']}-{each['metadata']['name']}"


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("each", [each for each in MANIFESTS if each["apiVersion"] not in OPERATORS], ids=label)
def test_manifest_fits_kubernetes_schema(each: dict[str, Any], version: str):
    assert kubernetes_validate.validate(each, version, strict=True)


def test_every_manifest_belongs_to_a_kustomization():
    for path in FOLDER.rglob("kustomization.yaml"):
        listed = yaml.safe_load(path.read_text())["resources"]
        files = {each.name for each in path.parent.glob("*.yaml")} - {path.name}
        assert {each for each in listed if not each.startswith("..")} == files


@pytest.fixture(scope="module")
def built() -> dict[str, dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed, so nothing here can apply kustomize")
    done = subprocess.run([kubectl, "kustomize", FOLDER / "example"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {label(each): each for each in yaml.safe_load_all(done.stdout)}


def test_example_overlay_changes_what_it_says(built: dict[str, dict[str, Any]]):
    assert {each["metadata"]["namespace"] for each in built.values()} == {"oncelog"}
    for name in PROGRAMS:
        spec = built[f"Deployment-{name}"]["spec"]
        assert "replicas" not in spec  # KEDA's
        assert spec["template"]["spec"]["containers"][0]["image"] == "registry.example.org/oncelog:0.1.0"
        scaled = built[f"ScaledObject-{name}"]["spec"]
        assert scaled["scaleTargetRef"]["name"] == name
        addresses = {"endpoint", "bootstrapServers"} & set(scaled["triggers"][0]["metadata"])
        assert [scaled["triggers"][0]["metadata"][each].split(":")[0][-12:] for each in addresses] == [".example.org"]


def test_example_overlay_fits_kubernetes_schema(built: dict[str, dict[str, Any]]):
    for each in built.values():
        if each["apiVersion"] not in OPERATORS:
            assert kubernetes_validate.validate(each, KUBERNETES[-1], strict=True)


def test_each_deployment_runs_its_program():
    assert {name: container(name)["args"] for name in DEPLOYMENTS} == {name: [each] for name, each in PROGRAMS.items()}
    read_models = {
        name: {each["name"]: each["value"] for each in container(name).get("env", [])} for name in DEPLOYMENTS
    }
    assert read_models == {
        "worker": {},
        "projector-documents": {"ONCELOG_PROJECTOR_READ_MODEL": "documents"},
        "projector-graph": {"ONCELOG_PROJECTOR_READ_MODEL": "graph"},
    }


def test_example_settings_exist():
    known = {name for name, _ in variables(Settings)} | {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "AWS_REGION"}
    named = {line.partition("=")[0] for line in (FOLDER / "example" / "oncelog.env").read_text().splitlines()}
    assert named - known == set()


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_has_no_rights_it_does_not_need(name: str):
    pod = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (user,) = [each.text for each in instructions((ROOT / "Dockerfile").read_text()) if each.name == "USER"]
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == user
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [each["mountPath"] for each in container(name)["volumeMounts"]] == ["/tmp"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_is_probed_where_the_image_serves(name: str):
    (port,) = container(name)["ports"]
    addresses = re.findall(r"METRICS_ADDRESS=:(\d+)", (ROOT / "Dockerfile").read_text())
    assert {int(each) for each in addresses} == {port["containerPort"]}
    probes = {kind: container(name)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {each["port"] for each in probes.values()} == {port["name"]}
    assert {kind: each["path"] for kind, each in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }


def test_pods_get_the_time_that_a_worker_needs_to_end():
    graces = {each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] for each in DEPLOYMENTS.values()}
    assert min(graces) > DRAIN_TIMEOUT.total_seconds()


def test_selectors_find_the_pods_they_are_for():
    for each in MANIFESTS:
        if each["kind"] == "PodDisruptionBudget":
            pods = DEPLOYMENTS[each["metadata"]["name"]]["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"] == pods
        elif each["kind"] in ("NetworkPolicy", "PodMonitor"):
            selector = each["spec"].get("podSelector") or each["spec"]["selector"]
            for deployment in DEPLOYMENTS.values():
                pods = deployment["spec"]["template"]["metadata"]["labels"]
                assert selector["matchLabels"].items() <= pods.items()


def test_scaling_looks_at_our_queue_and_groups():
    triggers = {
        each["metadata"]["name"]: each["spec"]["triggers"][0]["metadata"]
        for each in MANIFESTS
        if each["kind"] == "ScaledObject"
    }
    assert set(triggers) == set(PROGRAMS)
    assert triggers["worker"]["taskQueue"] == ONCELOG
    for read_model in ("documents", "graph"):
        trigger = triggers[f"projector-{read_model}"]
        assert (trigger["consumerGroup"], trigger["topic"]) == (projector_group(read_model), INSTANCE_TOPIC)
