"""The component over apps as they are: with volumes, several ports, named ports, init containers of their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.manifests.check import check
from sidecar.manifests.resources import read
from tests.support.kustomize import render

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
ENABLED = {"chat-sidecar": "enabled"}


def container(*ports: tuple[str, int], **more: Any) -> dict[str, Any]:
    declared = [{"name": name, "containerPort": number} for name, number in ports]
    return {"name": "app", "image": "registry.example.com/app:1", "ports": declared, **more}


def app(spec: dict[str, Any], *services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a Deployment and its Services, all with the label."""
    pods = {"app": "chat"}
    template = {"metadata": {"labels": pods}, "spec": spec}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "labels": ENABLED},
        "spec": {"replicas": 2, "selector": {"matchLabels": pods}, "template": template},
    }
    return [workload] + [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"chat-{number}", "labels": ENABLED},
            "spec": {"selector": pods, "ports": ports},
        }
        for number, ports in enumerate(services)
    ]


HTTP = [{"name": "http", "port": 80, "targetPort": "app"}]
APPS = {
    "a plain one": app({"containers": [container(("app", 3001))]}, HTTP),
    "several ports and two Services": app(
        {"containers": [container(("app", 3001), ("metrics", 9100), ("debug", 9229))]},
        HTTP,
        [{"port": 443, "targetPort": "app"}],
    ),
    "volumes of usual names": app(
        {
            "containers": [
                container(
                    ("app", 3001),
                    volumeMounts=[{"name": "data", "mountPath": "/data"}, {"name": "secrets", "mountPath": "/run/secrets"}],
                )
            ],
            "volumes": [
                {"name": "policy", "configMap": {"name": "own-policy"}},
                {"name": "secrets", "secret": {"secretName": "own-secrets"}},
                {"name": "data", "persistentVolumeClaim": {"claimName": "chat-data"}},
            ],
        },
        HTTP,
    ),
    "init containers of its own": app(
        {
            "initContainers": [
                {"name": "migrate", "image": "registry.example.com/app:1", "args": ["migrate"]},
                {"name": "sidecar", "image": "registry.example.com/mesh:1", "restartPolicy": "Always"},
            ],
            "containers": [container(("app", 3001))],
        },
        HTTP,
    ),
    "settings of its own": app(
        {
            "terminationGracePeriodSeconds": 300,
            "serviceAccountName": "chat",
            "automountServiceAccountToken": True,
            "securityContext": {"runAsUser": 1000},
            "containers": [
                container(
                    ("app", 3001),
                    lifecycle={"preStop": {"sleep": {"seconds": 120}}},
                    readinessProbe={"httpGet": {"path": "/health", "port": "app"}},
                    env=[{"name": "OPENAI_BASE_URL", "value": "http://127.0.0.1:8181/openai/v1"}],
                )
            ],
        },
        HTTP,
    ),
}  # fmt: skip


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """An overlay of somebody's own beside a copy of the component."""
    for name in ("component", "monitoring"):
        shutil.copytree(KUBERNETES / name, tmp_path / name)
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["app.yaml"], "components": ["../component"]})
    )
    return folder


def rendered(overlay: Path, resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (overlay / "app.yaml").write_text(yaml.safe_dump_all(resources))
    done = render(overlay)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(kind: str, resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [resource for resource in resources if resource["kind"] == kind]


@pytest.mark.parametrize("resources", APPS.values(), ids=APPS)
def test_the_app_stays_as_it_was_and_only_the_sidecar_is_reached(
    overlay: Path, resources: list[dict[str, Any]]
) -> None:
    made = rendered(overlay, resources)
    for resource in made:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    before = resources[0]["spec"]["template"]["spec"]
    (workload,) = of_kind("Deployment", made)
    after = workload["spec"]["template"]["spec"]
    assert after["containers"] == before["containers"]
    assert [volume for volume in after["volumes"] if not volume["name"].startswith("chat-sidecar-")] == before.get(
        "volumes", []
    )
    others = [each for each in after["initContainers"] if each["name"] != "chat-sidecar"]
    assert others == before.get("initContainers", [])
    added = {"initContainers", "volumes"}
    assert {key: after[key] for key in after if key not in added} == {
        key: before[key] for key in before if key not in added
    }
    assert workload["spec"]["selector"] == resources[0]["spec"]["selector"]
    for service in of_kind("Service", made):
        assert [port["targetPort"] for port in service["spec"]["ports"]] == [8080]
    assert check(read(yaml.safe_dump_all(made).encode(), "rendered")).problems == []


REFUSED = {
    "a Service that leads to a number": [{"port": 80, "targetPort": 3001}],
    "a Service that leads to another name": [{"port": 80, "targetPort": "http"}],
    "a Service that says nothing": [{"port": 3001}],
    "a second port": [*HTTP, {"name": "debug", "port": 9229, "targetPort": "debug"}],
    "a second port of the same name": [*HTTP, {"name": "too", "port": 81, "targetPort": "app"}],
}


@pytest.mark.parametrize("ports", REFUSED.values(), ids=REFUSED)
def test_kustomize_fails_where_a_service_could_lead_past_the_sidecar(
    overlay: Path, ports: list[dict[str, Any]]
) -> None:
    (overlay / "app.yaml").write_text(yaml.safe_dump_all(app({"containers": [container(("app", 3001))]}, ports)))
    done = render(overlay)
    assert done.returncode != 0
    assert "/spec/ports" in done.stderr


def test_a_service_without_the_label_is_found_by_the_check(overlay: Path) -> None:
    resources = app({"containers": [container(("app", 3001))]}, HTTP, [{"port": 80, "targetPort": 3001}])
    del resources[2]["metadata"]["labels"]
    made = rendered(overlay, resources)
    found = [finding.what for finding in check(read(yaml.safe_dump_all(made).encode(), "rendered")).problems]
    assert found == ["port 80 leads to 3001 of Deployment/chat, past the sidecar"]


def test_monitoring_comes_along(overlay: Path) -> None:
    (overlay / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["app.yaml"], "components": ["../component", "../monitoring"]})
    )
    made = rendered(overlay, APPS["a plain one"])
    assert len(of_kind("PodMonitor", made)) == len(of_kind("PrometheusRule", made)) == 1


def test_the_overlay_that_is_shown_renders() -> None:
    done = render(KUBERNETES / "overlay")
    assert done.returncode == 0, done.stderr
    assert check(read(done.stdout.encode(), "overlay")).found == []
