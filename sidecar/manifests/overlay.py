"""Makes a Kustomize overlay that puts the sidecar before a workload of someone else's manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from sidecar.errors import ConfigError
from sidecar.manifests.pods import MANAGEMENT, NAME, PUBLIC, Pod, pods
from sidecar.manifests.resources import Resource, mappings, texts

KINDS: Final = ("Deployment", "StatefulSet")
"""Workloads that the component can be put on."""
FREE: Final = {PUBLIC: (8080, 8090, 18080, 28080), MANAGEMENT: (9090, 9091, 19090, 29090)}
USUAL: Final = ("http", "https", "web", "ui", "app")
"""Names of a Service's port that users come through, where it has several."""
RENDERED: Final = "theirs.yaml"
POLICY: Final = """\
# {workload} of {source}, behind its sidecar. `sidecar check policy.yaml` prints what is in force.
version: 1
mode: enforce                    # observe: log and count what would be refused, and refuse nothing
listen:
  # The kubelet's probes and Prometheus come to the pod's address, so loopback would not do.
  public: {{ address: "0.0.0.0:{public}" }}
  management: {{ address: "0.0.0.0:{management}" }}
backend:
  url: http://127.0.0.1:{app}{kind}
clients:
  # The addresses of your ingress controller: only they may say who the client is.
  trusted_proxies: [10.0.0.0/8]
cors:
  allowed_origins: [{origins}]
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How a Service leads to the app: the port of the Service, and the port of the container."""

    service: Resource
    index: int
    target: int | str
    app: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is written: file → content, and what the reader still has to decide."""

    files: Mapping[str, str]
    remarks: Sequence[str] = field(default_factory=tuple)


def overlay(
    text: str,
    resources: Sequence[Resource],
    component: Mapping[str, str],
    *,
    source: str,
    workload: str = "",
    port: str = "",
    kind: str = "",
) -> Overlay:
    """Return the overlay for one workload. ConfigError: it is not clear which, or which port users come through.

    text       the manifests, which go into the overlay as they are
    component  file → content of deploy/kubernetes/component
    workload   `helpdesk` or `Deployment/helpdesk`; "": the only one that a Service leads to
    port       name or number of the Service's port; "": the only one, or the one with a usual name
    """
    pod = _workload(resources, workload)
    ways = list(_ways(pod, resources))
    way = _way(pod, ways, port)
    declared = {number for container in pod.containers for number, _, _ in container.ports()} | {way.app}
    ports = {usual: next(each for each in free if each not in declared) for usual, free in FREE.items()}
    origins = _origins(resources, way.service)
    policy = POLICY.format(
        workload=pod.resource.title,
        source=source,
        public=ports[PUBLIC],
        management=ports[MANAGEMENT],
        app=way.app,
        kind=f"\n  kind: {kind}" if kind else "",
        origins=", ".join(f'"{each}"' for each in origins) or '"https://chat.example.com"',
    )
    files = {
        f"base/{RENDERED}": text,
        "base/kustomization.yaml": _base(pod, way, ways),
        "kustomization.yaml": _top(pod),
        "policy.yaml": policy,
        **{f"component/{name}": _adapted(content, pod.resource.kind, ports) for name, content in component.items()},
    }
    others = [each for each in ways if each.service is way.service and each.index != way.index]
    if others:
        files["base/other-ports.yaml"] = _other_ports(way.service, others)
    return Overlay(files, tuple(_remarks(pod, way, others, origins)))


def _workload(resources: Sequence[Resource], wanted: str) -> Pod:
    every = [pod for pod in pods(resources) if pod.resource.kind in KINDS]
    named = [pod for pod in every if wanted in (pod.resource.name, pod.resource.title)]
    chosen = named if wanted else [pod for pod in every if any(_ways(pod, resources))]
    if len(chosen) == 1:
        if chosen[0].sidecar is not None:
            raise ConfigError(f"{chosen[0].resource.title} has a sidecar already")
        return chosen[0]
    names = ", ".join(pod.resource.title for pod in every) or "none"
    if wanted:
        raise ConfigError(f"{wanted} is no workload of these manifests; write --workload with one of: {names}")
    found = "no Service leads to any" if not chosen else "Services lead to several"
    raise ConfigError(f"{found} of the workloads; write --workload with one of: {names}")


def _ways(pod: Pod, resources: Sequence[Resource]) -> Iterator[Way]:
    numbers = {name: number for container in pod.containers for number, name, _ in container.ports() if name}
    for service in resources:
        selector = texts(service.at("spec", "selector"))
        same = service.kind == "Service" and service.namespace == pod.resource.namespace
        if not same or not selector or not selector.items() <= pod.labels.items():
            continue
        for index, port in enumerate(mappings(service.at("spec", "ports"))):
            target = port.get("targetPort", port.get("port"))
            number = target if isinstance(target, int) else numbers.get(str(target), 0)
            yield Way(service, index, target if isinstance(target, int) else str(target), number)


def _way(pod: Pod, ways: Sequence[Way], wanted: str) -> Way:
    def port(way: Way) -> Mapping[str, Any]:
        return mappings(way.service.at("spec", "ports"))[way.index]

    if not ways:
        raise ConfigError(f"no Service of these manifests leads to {pod.resource.title}; add the one that users use")
    if wanted:
        chosen = [way for way in ways if wanted in (str(port(way).get("name")), str(port(way).get("port")))]
    else:
        usual = [way for way in ways if port(way).get("name") in USUAL or port(way).get("port") in (80, 443)]
        chosen = usual if len(ways) > 1 else list(ways)
    if len(chosen) != 1:
        shown = ", ".join(f"{way.service.name}:{port(way).get('name') or port(way).get('port')}" for way in ways)
        raise ConfigError(f"which port do users come through? Write --port with one of: {shown}")
    if chosen[0].app == 0:
        raise ConfigError(f"no port of {pod.resource.title} has the name {chosen[0].target}; correct the Service")
    return chosen[0]


def _origins(resources: Sequence[Resource], service: Resource) -> list[str]:
    """Return the origins at which Ingresses show the Service."""
    found: dict[str, None] = {}
    for ingress in resources:
        if ingress.kind != "Ingress" or ingress.namespace != service.namespace:
            continue
        for rule in mappings(ingress.at("spec", "rules")):
            paths = mappings((rule.get("http") or {}).get("paths"))
            names = {((each.get("backend") or {}).get("service") or {}).get("name") for each in paths}
            if rule.get("host") and service.name in names:
                found[f"https://{rule['host']}"] = None
    return list(found)


def _base(pod: Pod, way: Way, ways: Sequence[Way]) -> str:
    resource, service = pod.resource, way.service
    others = sorted((each.index for each in ways if each.service is service and each.index != way.index), reverse=True)
    # Removed from behind, so that the numbers before them stay what they are.
    removed = "".join(f"      - {{ op: remove, path: /spec/ports/{index} }}\n" for index in others)
    at = f"/spec/ports/{way.index - sum(index < way.index for index in others)}/targetPort"
    test = (
        f"      - {{ op: test, path: /spec/ports/{way.index}/targetPort, value: {way.target} }}\n"
        if "targetPort" in mappings(service.at("spec", "ports"))[way.index]
        else ""
    )
    extra = ", other-ports.yaml" if others else ""
    return f"""\
# {resource.title} and {service.title} as they are, made ready for the component: the label, and `app` as what the
# Service leads to, which the component replaces by the sidecar's port. The container's own ports stay as they are.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{RENDERED}{extra}]
patches:
  - target: {{ kind: {resource.kind}, name: {resource.name} }}
    patch: |
      apiVersion: apps/v1
      kind: {resource.kind}
      metadata: {{ name: {resource.name}, labels: {{ chat-sidecar: enabled }} }}
  - target: {{ kind: Service, name: {service.name} }}
    patch: |
      apiVersion: v1
      kind: Service
      metadata: {{ name: {service.name}, labels: {{ chat-sidecar: enabled }} }}
  - target: {{ kind: Service, name: {service.name} }}
    patch: |
{test}{removed}      - {{ op: add, path: {at}, value: app }}
"""


def _top(pod: Pod) -> str:
    namespace = pod.resource.namespace
    there = f"\n    namespace: {namespace}" if namespace else ""
    moved = (
        f"""\
patches:
  - target: {{ kind: NetworkPolicy, name: {NAME} }}
    patch: |
      - {{ op: add, path: /metadata/namespace, value: {namespace} }}
"""
        if namespace
        else ""
    )
    return f"""\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [base]
components: [component]
configMapGenerator:
  - name: chat-sidecar-policy{there}
    files: [policy.yaml]
    # A stable name: the sidecar reloads the policy in place, so no rollout is wanted when it changes.
    options: {{ disableNameSuffixHash: true }}
images:
  - name: registry.example.com/chat-sidecar
    newName: registry.example.com/chat-sidecar    # yours
    newTag: 0.1.0
{moved}"""


def _adapted(content: str, kind: str, ports: Mapping[int, int]) -> str:
    """Return a file of the component for this kind of workload and these ports."""
    content = re.sub(r"\b(8080|9090)\b", lambda match: str(ports[int(match[1])]), content)
    return re.sub(r"\bkind: Deployment\b", f"kind: {kind}", content)


def _other_ports(service: Resource, others: Sequence[Way]) -> str:
    """Return a Service for the ports that users do not come through: the guarded one leads to the sidecar alone."""
    listed = mappings(service.at("spec", "ports"))
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{service.name}-other-ports",
            **({"namespace": service.namespace} if service.namespace else {}),
            "annotations": {
                f"{NAME}/dangerously-unguarded-ports": ",".join(str(way.target) for way in others),
            },
        },
        "spec": {
            "selector": dict(texts(service.at("spec", "selector"))),
            "ports": [dict(listed[way.index]) for way in others],
        },
    }
    return yaml.safe_dump(body, sort_keys=False)


def _remarks(pod: Pod, way: Way, others: Sequence[Way], origins: Sequence[str]) -> Iterator[str]:
    yield f"{way.service.title} leads to port {way.app} of {pod.resource.title}; from now on the sidecar does"
    if others:
        names = ", ".join(str(way.target) for way in others)
        yield (
            f"its other ports ({names}) moved to Service/{way.service.name}-other-ports; "
            "component/networkpolicy.yaml closes them: add a rule for those who may reach them"
        )
    place = f" in the namespace {pod.resource.namespace}" if pod.resource.namespace else ""
    yield f"the Secret chat-secrets has to be made{place} (docs/kubernetes.md has the command)"
    if not origins:
        yield "no Ingress says where the page is; write its origin into policy.yaml, at cors.allowed_origins"
    yield "write your ingress controller's addresses into policy.yaml, at clients.trusted_proxies"
    yield "write your image into kustomization.yaml, at images"
