"""Rendered manifests: each way around the sidecar is found at its line, and what is safe is let be."""

from __future__ import annotations

import contextlib
import copy
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.manifests.check import check, guarded
from sidecar.manifests.resources import read

POLICY = """\
apiVersion: v1
kind: ConfigMap
metadata: { name: chat-sidecar-policy }
data:
  policy.yaml: |
    version: 1
    listen:
      public: { address: "0.0.0.0:8080" }
      management: { address: "0.0.0.0:9090" }
    backend: { url: "http://127.0.0.1:3001" }
---
"""
SIDECAR = """\
- name: chat-sidecar
  image: registry.example.com/chat-sidecar:1
  restartPolicy: Always
  args: [run, --policy, /etc/sidecar/policy.yaml]
  ports: [{ name: chat-sidecar, containerPort: 8080 }, { name: sidecar-mgmt, containerPort: 9090 }]
  startupProbe: { httpGet: { path: /livez, port: 9090 } }
  volumeMounts: [{ name: chat-sidecar-policy, mountPath: /etc/sidecar }, { name: chat-sidecar-secrets, mountPath: /run/s }]
"""
APP = """\
- name: app
  image: registry.example.com/app:1
  ports: [{ name: app, containerPort: 3001 }, { name: metrics, containerPort: 9100 }]
"""
VOLUMES = """\
- { name: chat-sidecar-policy, configMap: { name: chat-sidecar-policy } }
- { name: chat-sidecar-secrets, secret: { secretName: chat-secrets } }
"""
NETWORK = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: chat }
spec:
  podSelector: { matchLabels: { app: chat } }
  policyTypes: [Ingress]
  ingress:
    - ports: [{ port: 8080 }]
    - ports: [{ port: 9090 }]
---
"""


def deployment(
    *, sidecar: str = SIDECAR, app: str = APP, volumes: str = VOLUMES, labels: str = "{}", more: str = ""
) -> str:
    def inside(text: str) -> str:
        return textwrap.indent(text, " " * 8) or "        []\n"

    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: chat, labels: {labels} }}\nspec:\n"
        "  selector: { matchLabels: { app: chat } }\n  template:\n    metadata: { labels: { app: chat } }\n    spec:\n"
        f"      terminationGracePeriodSeconds: 75\n{textwrap.indent(more, ' ' * 6)}"
        f"      initContainers:\n{inside(sidecar)}      containers:\n{inside(app)}      volumes:\n{inside(volumes)}---\n"
    )


def service(ports: str, *, labels: str = "{}", selector: str = "{ app: chat }", more: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{ name: chat, labels: {labels} }}\nspec:\n{textwrap.indent(more, '  ')}"
        f"  selector: {selector}\n  ports: {ports}\n---\n"
    )


SAFE = "[{ name: http, port: 80, targetPort: 8080 }]"
ENABLED = "{ chat-sidecar: enabled }"


def said(text: str) -> list[str]:
    return [finding.text("f").partition(": ")[2] for finding in check(read(text.encode(), "f")).found]


def test_what_is_safe_is_let_be() -> None:
    text = POLICY + deployment(labels=ENABLED) + NETWORK + service(SAFE, labels=ENABLED)
    assert said(text) == []
    assert guarded(read(text.encode(), "f")) == ["Deployment/chat"]


WAYS = {
    "by number": (
        "[{ port: 80, targetPort: 3001 }]",
        "port 80 leads to 3001 of Deployment/chat, past the sidecar; write targetPort: 8080",
    ),
    "by name": (
        "[{ port: 80, targetPort: app }]",
        "port 80 leads to app, which is port 3001 of the container app; write targetPort: 8080",
    ),
    "by silence": (
        "[{ port: 3001 }]",
        "port 3001 leads to 3001 of Deployment/chat, past the sidecar; write targetPort: 8080",
    ),
    "by another port of the app": (
        "[{ port: 80, targetPort: 8080 }, { port: 9100, targetPort: metrics }]",
        "port 9100 leads to metrics, which is port 9100 of the container app; write targetPort: 8080",
    ),
    "to a port that nothing has": (
        "[{ port: 80, targetPort: web }]",
        "port 80 leads to web, a name that no port of Deployment/chat has; write targetPort: 8080",
    ),
    "to a number where nothing listens": (
        "[{ port: 80, targetPort: 5000 }]",
        "port 80 leads to 5000 where no sidecar listens; write targetPort: 8080",
    ),
}


@pytest.mark.parametrize(("ports", "what"), WAYS.values(), ids=WAYS)
def test_a_service_that_leads_past_the_sidecar(ports: str, what: str) -> None:
    assert said(POLICY + deployment() + NETWORK + service(ports)) == [f"Service/chat: {what}"]


@pytest.mark.parametrize("ports", [SAFE, "[{ port: 80, targetPort: chat-sidecar }]", "[{ port: 8080 }]"])
def test_a_service_that_leads_to_the_sidecar(ports: str) -> None:
    assert said(POLICY + deployment() + NETWORK + service(ports)) == []


def test_a_service_of_other_pods_or_of_another_namespace_is_none_of_ours() -> None:
    other = service("[{ port: 80, targetPort: 3001 }]", selector="{ app: other }")
    elsewhere = service("[{ port: 80, targetPort: 3001 }]").replace("name: chat,", "name: chat, namespace: x,")
    assert said(POLICY + deployment() + NETWORK + other + elsewhere) == []


def test_an_exception_has_to_be_written_down() -> None:
    ports = "[{ port: 9100, targetPort: metrics }]"
    marked = service(ports).replace(
        "name: chat,", "name: chat, annotations: { chat-sidecar/dangerously-unguarded-ports: 'metrics, 9100' },"
    )
    assert said(POLICY + deployment() + NETWORK + marked) == []


def test_the_line_is_that_of_the_fault() -> None:
    text = POLICY + deployment() + NETWORK + service("\n    - port: 80\n      targetPort: app")
    (finding,) = check(read(text.encode(), "f")).found
    assert text.splitlines()[finding.line - 1] == "      targetPort: app"


def test_a_management_listener_outside_the_cluster() -> None:
    ports = "[{ port: 9090, targetPort: sidecar-mgmt }]"
    assert said(POLICY + deployment() + NETWORK + service(ports)) == []
    assert said(POLICY + deployment() + NETWORK + service(ports, more="type: LoadBalancer\n")) == [
        "Service/chat: shows the management listener (9090) outside the cluster; make it a ClusterIP, for Prometheus alone"
    ]


def test_a_headless_service_needs_a_network_policy() -> None:
    headless = service(SAFE, more="clusterIP: None\n")
    assert said(POLICY + deployment() + NETWORK + headless) == []
    assert said(POLICY + deployment() + headless)[0] == (
        "Service/chat: is headless: its clients get the pods' addresses and may use any port of them; "
        "add a NetworkPolicy that admits port 8080 alone, or remove `clusterIP: None`"
    )


BARE = APP.replace("- name: app\n", "- name: bare\n")
PODS = {
    "a label without a sidecar": (
        deployment(sidecar="", labels=ENABLED),
        [("Deployment/chat: has the label chat-sidecar: enabled and no sidecar; "
         "add the component to your overlay, or remove the label")],
    ),
    "a Service with the label, a workload without": (
        deployment(sidecar="") + service(SAFE, labels=ENABLED),
        [("Service/chat: has the label chat-sidecar: enabled and leads to Deployment/chat, which has no sidecar; "
         "give that workload the label chat-sidecar: enabled too")],
    ),
    "a Service with the label that selects nothing": (
        POLICY + deployment() + NETWORK + service(SAFE, labels=ENABLED, selector="{ app: nothing }"),
        [("Service/chat: has the label chat-sidecar: enabled and selects no workload of this file; "
         "check the file that is applied, with the workload in it")],
    ),
    "a port of the app that is the sidecar's": (
        POLICY + deployment(app=APP.replace("9100", "8080")) + NETWORK.replace("{ port: 8080 }", "{ port: 9090 }"),
        [("Deployment/chat: the container app has port 8080, and so has the sidecar (public); "
         "write another listen.public.address into the policy")],
    ),
    "a name of a port that both have": (
        POLICY + deployment(app=APP.replace("metrics", "chat-sidecar")) + NETWORK,
        [("Deployment/chat: the port name chat-sidecar is the sidecar's and that of the container app; "
         "give each port of the pod a name of its own")],
    ),
    "two containers of one name": (
        POLICY + deployment(app=APP + APP.replace("3001", "3002").replace("name: app, c", "name: b, c")) + NETWORK,
        ["Deployment/chat: has two containers of the name app; rename one"],
    ),
    "two volumes of one name": (
        POLICY + deployment(volumes=VOLUMES + "- { name: chat-sidecar-policy, emptyDir: {} }\n") + NETWORK,
        ["Deployment/chat: has two volumes of the name chat-sidecar-policy; rename one"],
    ),
    "the sidecar's secrets in the app": (
        POLICY + deployment(app=APP + "  volumeMounts: [{ name: chat-sidecar-secrets, mountPath: /s }]\n") + NETWORK,
        [("Deployment/chat: the container app mounts chat-sidecar-secrets, which holds the sidecar's secrets; "
         "give it a volume of its own")],
    ),
    "a port of the node": (
        POLICY + deployment(app=APP.replace("containerPort: 3001", "containerPort: 3001, hostPort: 3001")) + NETWORK,
        ["Deployment/chat: the container app has a hostPort (3001), past the sidecar; remove it"],
    ),
    "the node's network": (
        POLICY + deployment(more="hostNetwork: true\n") + NETWORK,
        ["Deployment/chat: uses the node's network: the app's port is open at the node's address; remove hostNetwork"],
    ),
    "a startup probe that waits for the app": (
        POLICY + deployment(sidecar=SIDECAR.replace("/livez", "/readyz")) + NETWORK,
        [("Deployment/chat: the sidecar's startupProbe asks /readyz: the app starts only after it, so /readyz may wait "
         "for what cannot be there yet; write /livez there, and /readyz in readinessProbe")],
    ),
    "a listener that the kubelet cannot reach": (
        POLICY.replace("0.0.0.0:9090", "127.0.0.1:9090") + deployment() + NETWORK,
        [("Deployment/chat: its policy puts listen.management on 127.0.0.1:9090, which Services and the kubelet cannot "
         'reach; write "0.0.0.0:9090"')],
    ),
    "a policy that does not compile": (
        POLICY.replace("backend:", "backende:") + deployment() + NETWORK,
        [("Deployment/chat: its policy is refused: ConfigMap/chat-sidecar-policy policy.yaml:5:1: backende: is not a key "
         'that is known here; did you mean "backend"?; correct the policy'),
         ("Deployment/chat: its policy is refused: ConfigMap/chat-sidecar-policy policy.yaml:1:1: backend: is missing; "
         "write backend: { url: http://127.0.0.1:3001 }; correct the policy")],
    ),
    "labels that a patch took away": (
        POLICY + deployment().replace("matchLabels: { app: chat }", "matchLabels: { app: chat, tier: web }") + NETWORK,
        ["Deployment/chat: does not select its own pods; keep the labels of the template as they were"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), PODS.values(), ids=PODS)
def test_a_pod_that_would_not_be_guarded_or_not_work(text: str, lines: list[str]) -> None:
    assert sorted(said(text)) == sorted(lines)
    assert check(read(text.encode(), "f")).problems


NOTES = {
    "no NetworkPolicy": (
        POLICY + deployment(),
        (
            "note: Deployment/chat: no NetworkPolicy closes the app's ports (3001, 9100) to other pods; "
            "add one that admits 8080, and 9090 for Prometheus"
        ),
    ),
    "an ordinary container": (
        POLICY + deployment(sidecar=SIDECAR.replace("  restartPolicy: Always\n", "")) + NETWORK,
        (
            "note: Deployment/chat: the sidecar is an ordinary container: it starts and ends together with the app, in no "
            "order; move it to initContainers with restartPolicy: Always"
        ),
    ),
    "an end that comes too soon": (
        POLICY
        + deployment(app=APP + "  lifecycle: { preStop: { sleep: { seconds: 50 } } }\n").replace(": 75", ": 60")
        + NETWORK,
        (
            "note: Deployment/chat: ends after 60 s, and streams need up to 85 s (the app's preStop and the sidecar's drain); "
            "write terminationGracePeriodSeconds: 85 or more, or a shorter listen.drain"
        ),
    ),
}


@pytest.mark.parametrize(("text", "line"), NOTES.values(), ids=NOTES)
def test_what_is_only_noted(text: str, line: str) -> None:
    assert said(text) == [line]
    assert check(read(text.encode(), "f")).problems == []


ADMITTED = {
    "all ports": ("- from: [{ podSelector: {} }]", [3001, 9100]),
    "the app's port": ("- ports: [{ port: 3001 }]", [3001]),
    "its name": ("- ports: [{ port: app }]", [3001]),
    "a range": ("- ports: [{ port: 3000, endPort: 9099 }]", [3001]),
    "any port of a protocol": ("- ports: [{ protocol: TCP }]", [3001, 9100]),
    "the sidecar's": ("- ports: [{ port: 8080 }, { port: 9090 }]", []),
    "another protocol": ("- ports: [{ port: 3001, protocol: UDP }]", []),
    "nothing": ("[]", []),
}


@pytest.mark.parametrize(("ingress", "ports"), ADMITTED.values(), ids=ADMITTED)
def test_what_a_network_policy_admits(ingress: str, ports: list[int]) -> None:
    network = NETWORK[: NETWORK.index("    - ports")] + f"    {ingress}\n---\n"
    which = ", ".join(map(str, ports))
    instead = "list the ports that may be reached: 8080, and 9090 for Prometheus"
    expected = f"NetworkPolicy/chat: admits the app's port {which}; {instead}"
    assert said(POLICY + deployment() + network) == ([expected] if ports else [])


def test_a_network_policy_of_other_pods_closes_nothing() -> None:
    other = NETWORK.replace("{ app: chat }", "{ app: other }")
    assert len(said(POLICY + deployment() + other)) == 1


def test_without_a_policy_in_the_file_the_ports_are_those_of_the_manifests() -> None:
    note = (
        "note: Deployment/chat: its policy is not in this file (ConfigMap/chat-sidecar-policy), so the ports of the "
        "project's own manifests are assumed; render the ConfigMap too"
    )
    assert said(deployment() + NETWORK + service(SAFE)) == [note]
    assert len(said(deployment() + NETWORK + service("[{ port: 80, targetPort: app }]"))) == 2


EXAMPLE = list(yaml.safe_load_all((Path(__file__).parents[2] / "deploy/kubernetes/example.yaml").read_text()))
VALUES = st.sampled_from([None, True, 1, -1, "x", "8080", [], {}, [1], [None], [{}], {"a": 1}, {"name": None}])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a tree."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in children:
        yield (*path, key)
        yield from places(inner, (*path, key))


@given(st.lists(st.tuples(st.sampled_from(list(places(EXAMPLE))), VALUES), min_size=1, max_size=4))
def test_no_value_at_any_place_breaks_the_check(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    documents = copy.deepcopy(EXAMPLE)
    for path, value in changes:
        inner: Any = documents
        with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = copy.deepcopy(value)
    check(read(yaml.safe_dump_all(documents).encode(), "f"))
