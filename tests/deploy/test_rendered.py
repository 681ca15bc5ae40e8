"""The component over apps as they are: with volumes, several ports, named ports, init containers of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.cli import parse
from sidecar.manifests.check import check
from sidecar.manifests.resources import read
from tests.support.kustomize import command, render

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
    """An overlay of the operator's beside a copy of the component."""
    for name in ("component", "monitoring"):
        shutil.copytree(KUBERNETES / name, tmp_path / name)
    folder = tmp_path / "overlay"
    folder.mkdir()
    shutil.copy(KUBERNETES / "overlay/policy.yaml", folder)
    (folder / "kustomization.yaml").write_text(kustomization("../component"))
    return folder


def kustomization(*components: str) -> str:
    policy = {"name": "chat-sidecar-policy", "files": ["policy.yaml"]}
    return yaml.safe_dump({"resources": ["app.yaml"], "components": list(components), "configMapGenerator": [policy]})


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
    (overlay / "kustomization.yaml").write_text(kustomization("../component", "../monitoring"))
    made = rendered(overlay, APPS["a plain one"])
    assert len(of_kind("PodMonitor", made)) == len(of_kind("PrometheusRule", made)) == 1


def test_the_overlay_that_is_shown_renders() -> None:
    done = render(KUBERNETES / "overlay")
    assert done.returncode == 0, done.stderr
    assert check(read(done.stdout.encode(), "overlay")).found == []


FOREIGN = """\
---
# Source: their/chart/templates/service.yaml
apiVersion: v1
kind: Service
metadata: { name: chat, labels: { app.kubernetes.io/managed-by: Helm } }
spec:
  selector: { app.kubernetes.io/name: their-chat }
  ports: [{ name: http, port: 80, targetPort: http }]
---
# Source: their/chart/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata: { name: chat, labels: { app.kubernetes.io/managed-by: Helm } }
spec:
  selector: { matchLabels: { app.kubernetes.io/name: their-chat } }
  template:
    metadata: { labels: { app.kubernetes.io/name: their-chat } }
    spec:
      containers:
        - name: chat
          image: registry.example.com/their-chat:3
          ports: [{ name: http, containerPort: 3000 }]
          volumeMounts: [{ name: data, mountPath: /data }]
      volumes: [{ name: data, persistentVolumeClaim: { claimName: chat } }]
"""


def post_render(text: str, check_with: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Pipe manifests through the post-renderer; `check_with` holds a `sidecar` for it."""
    tool = command()[0]
    path = os.pathsep.join([str(check_with)] * (check_with is not None) + [str(Path(tool).parent), "/usr/bin", "/bin"])
    script = KUBERNETES / "post-renderer/guard.sh"
    return subprocess.run(
        [str(script)], input=text, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_post_renderer_puts_the_sidecar_before_somebody_elses_release() -> None:
    done = post_render(FOREIGN)
    assert done.returncode == 0, done.stderr
    resources = list(yaml.safe_load_all(done.stdout))
    for resource in resources:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    findings = check(read(done.stdout.encode(), "guarded"))
    assert findings.problems == []
    (service,) = of_kind("Service", resources)
    assert service["spec"]["ports"][0]["targetPort"] == 8080
    (workload,) = of_kind("Deployment", resources)
    assert workload["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] == [
        {"name": "data", "mountPath": "/data"}
    ]


def test_it_fails_where_the_chart_is_another_one() -> None:
    done = post_render(FOREIGN.replace("targetPort: http", "targetPort: 3000"))
    assert done.returncode != 0
    assert done.stdout == ""
    assert "/spec/ports/0/targetPort" in done.stderr


def test_it_fails_where_the_app_could_still_be_reached(tmp_path: Path) -> None:
    sidecar = tmp_path / "sidecar"
    sidecar.write_text(f'#!/bin/sh\nexec {sys.executable} -m sidecar "$@"\n')
    sidecar.chmod(0o755)
    assert post_render(FOREIGN, tmp_path).returncode == 0
    second = FOREIGN.partition("---\n# Source: their/chart/templates/deployment.yaml")[0].replace(
        "name: chat,", "name: back,"
    )
    done = post_render(second.replace("targetPort: http", "targetPort: 3000") + FOREIGN, tmp_path)
    assert done.returncode != 0
    assert "Service/back: port 80 leads to 3000 of Deployment/chat, past the sidecar" in done.stderr


def test_the_plugin_for_helm_4_runs_the_script() -> None:
    plugin = yaml.safe_load((KUBERNETES / "post-renderer/plugin.yaml").read_text())
    assert plugin["type"] == "postrenderer/v1"
    (run,) = plugin["runtimeConfig"]["platformCommand"]
    assert run["command"] == "${HELM_PLUGIN_DIR}/guard.sh"


def test_the_job_for_keys_is_accepted_and_knows_its_command() -> None:
    job = yaml.safe_load((KUBERNETES / "keys-job.yaml").read_text())
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    (only,) = job["spec"]["template"]["spec"]["containers"]
    assert parse(only["args"]).organization == "default"
