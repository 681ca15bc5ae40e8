"""Overlays for manifests of any shape: what they lead to is safe by `sidecar check`, rendered by the real kustomize."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.errors import ConfigError
from sidecar.manifests.check import check, guarded
from sidecar.manifests.overlay import Overlay, overlay
from sidecar.manifests.resources import read
from tests.support.kustomize import render

ROOT = Path(__file__).parents[2]
COMPONENT = {file.name: file.read_text() for file in (ROOT / "deploy/kubernetes/component").glob("*.yaml")}
APP = "{ name: web, image: a:1, ports: [{ name: http, containerPort: 3000 }] }"
EXPORTER = "{ name: exporter, image: e:1, ports: [{ name: metrics, containerPort: 9113 }] }"


def manifests(
    *containers: str, ports: str, kind: str = "Deployment", namespace: str = "", extra: str = "", more: str = ""
) -> str:
    """Return a workload with these containers, a Service with these ports, and what else there is."""
    there = f", namespace: {namespace}" if namespace else ""
    service_name = "  serviceName: chat\n" if kind == "StatefulSet" else ""
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: chat{there} }}\nspec:\n{service_name}"
        "  selector: { matchLabels: { app: chat } }\n  template:\n    metadata: { labels: { app: chat } }\n    spec:\n"
        f"{textwrap.indent(extra, '      ')}      containers: [{', '.join(containers)}]\n"
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{ name: chat{there} }}\n"
        f"spec: {{ selector: {{ app: chat }}, ports: [{ports}] }}\n{more}"
    )


INGRESS = """\
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: chat }
spec:
  rules:
    - { host: chat.example.com, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: chat, port: { number: 80 } } } }] } }
"""
BUSY = """\
terminationGracePeriodSeconds: 60
initContainers: [{ name: wait, image: b:1, command: [sh, -c, "true"] }]
volumes: [{ name: data, emptyDir: {} }]
"""
PROBED = (
    "{ name: web, image: a:1, ports: [{ name: http, containerPort: 3000 }], "
    "readinessProbe: { httpGet: { path: /, port: http } }, volumeMounts: [{ name: data, mountPath: /d }] }"
)
THEIRS = {
    "named port": manifests(APP, ports="{ port: 80, targetPort: http }"),
    "number": manifests(APP, ports="{ port: 80, targetPort: 3000 }"),
    "no target": manifests(APP, ports="{ port: 3000 }"),
    "undeclared": manifests("{ name: web, image: a:1 }", ports="{ port: 80, targetPort: 3000 }"),
    "several containers": manifests(
        EXPORTER, PROBED, ports="{ name: metrics, port: 9113, targetPort: metrics }, { name: http, port: 80, targetPort: http }",
        extra=BUSY, namespace="helpdesk",
    ),
    "app on 8080": manifests("{ name: web, image: a:1, ports: [{ containerPort: 8080 }] }", ports="{ port: 80, targetPort: 8080 }"),
    "stateful": manifests(APP, ports="{ port: 80, targetPort: http }", kind="StatefulSet"),
    "ingress": manifests(APP, ports="{ port: 80, targetPort: http }", more=INGRESS),
}  # fmt: skip


def made(text: str, **chosen: str) -> Overlay:
    return overlay(text, read(text.encode(), "theirs.yaml"), COMPONENT, source="theirs.yaml", **chosen)


def rendered(tmp_path: Path, text: str) -> str:
    for name, content in made(text).files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    done = render(tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def of(kind: str, text: str) -> dict[str, Any]:
    (found,) = [each for each in yaml.safe_load_all(text) if each["kind"] == kind]
    return found


@pytest.mark.parametrize("name", THEIRS)
def test_what_comes_out_leads_through_the_sidecar(name: str, tmp_path: Path) -> None:
    text = rendered(tmp_path, THEIRS[name])
    resources = read(text.encode(), "out")
    assert [finding.text("out") for finding in check(resources).problems] == []
    assert len(guarded(resources)) == 1


def test_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    text = rendered(tmp_path, THEIRS["several containers"])
    before = next(each for each in yaml.safe_load_all(THEIRS["several containers"]) if each["kind"] == "Deployment")
    pod, was = of("Deployment", text)["spec"]["template"]["spec"], before["spec"]["template"]["spec"]
    assert pod["containers"] == was["containers"]
    assert [each for each in pod["initContainers"] if each["name"] != "chat-sidecar"] == was["initContainers"]
    assert pod["terminationGracePeriodSeconds"] == 60
    assert {"name": "data", "emptyDir": {}} in pod["volumes"]
    services = [each for each in yaml.safe_load_all(text) if each["kind"] == "Service"]
    assert {each["metadata"]["name"]: each["spec"]["ports"] for each in services} == {
        "chat": [{"name": "http", "port": 80, "targetPort": 8080}],
        "chat-other-ports": [{"name": "metrics", "port": 9113, "targetPort": "metrics"}],
    }
    assert {each["metadata"].get("namespace") for each in yaml.safe_load_all(text)} == {"helpdesk"}


def test_the_page_of_the_ingress_is_allowed(tmp_path: Path) -> None:
    policy = yaml.safe_load(made(THEIRS["ingress"]).files["policy.yaml"])
    assert policy["cors"]["allowed_origins"] == ["https://chat.example.com"]
    assert policy["backend"] == {"url": "http://127.0.0.1:3000"}


@pytest.mark.parametrize(
    ("text", "chosen", "says"),
    [
        (THEIRS["named port"], {"workload": "shop"}, "shop is no workload of these manifests; write --workload with one of: Deployment/chat"),
        (manifests(APP, ports=""), {}, "no Service leads to any of the workloads; write --workload with one of: Deployment/chat"),
        (manifests(APP, ports=""), {"workload": "chat"}, "no Service of these manifests leads to Deployment/chat; add the one that users use"),
        (
            manifests(APP, EXPORTER, ports="{ name: a, port: 1, targetPort: http }, { name: b, port: 2, targetPort: metrics }"),
            {}, "which port do users come through? Write --port with one of: chat:a, chat:b",
        ),
        (manifests(APP, ports="{ port: 80, targetPort: nothing }"), {}, "no port of Deployment/chat has the name nothing; correct the Service"),
    ],
    ids=["unknown", "no-service", "no-service-of-it", "which-port", "dead-name"],
)  # fmt: skip
def test_what_is_not_clear_is_said(text: str, chosen: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        made(text, **chosen)
    assert str(raised.value) == says


def test_the_command_writes_the_folder_and_no_second_time(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text(THEIRS["named port"])
    argv = [
        sys.executable,
        "-m",
        "sidecar",
        "kustomize",
        str(tmp_path / "theirs.yaml"),
        "--into",
        str(tmp_path / "new"),
    ]
    first, second = (
        subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "new/base/theirs.yaml").read_text() == THEIRS["named port"]
    assert "then: kubectl kustomize" in first.stderr
    assert (second.returncode, second.stderr) == (2, f"sidecar: {tmp_path}/new exists already; name a new folder\n")
