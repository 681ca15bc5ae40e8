"""Ways to a guarded pod that do not lead through its sidecar: Services, host ports, NetworkPolicies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidecar.manifests.findings import Findings
from sidecar.manifests.pods import NAME, Listening, Pod
from sidecar.manifests.resources import Resource, Step, mappings, selects, texts, words

UNGUARDED: Final = f"{NAME}/dangerously-unguarded-ports"
"""Annotation of a Service or NetworkPolicy: ports that may be reached without the sidecar, such as an app's metrics."""


def services(pod: Pod, ports: Listening, resources: Sequence[Resource], findings: Findings) -> None:
    """Report each port of a Service that leads to a pod and not to its sidecar."""
    for service in resources:
        selector = texts(service.at("spec", "selector"))
        same_place = service.kind == "Service" and service.namespace == pod.resource.namespace
        if not same_place or not selector or not selector.items() <= pod.labels.items():
            continue
        exempt = _exempt(service)
        for index, port in enumerate(mappings(service.at("spec", "ports"))):
            target = port.get("targetPort", port.get("port"))
            if str(target) not in exempt:
                _target(service, ("spec", "ports", index), port, target, pod, ports, findings)
        if service.at("spec", "clusterIP") == "None" and not _closed(pod, ports, resources):
            findings.add(
                service,
                ("spec", "clusterIP"),
                "is headless: its clients get the pods' addresses and may use any port of them",
                f"add a NetworkPolicy that admits port {ports.public} alone, or remove `clusterIP: None`",
            )


def _target(
    service: Resource,
    place: tuple[Step, ...],
    port: Mapping[str, Any],
    target: Any,
    pod: Pod,
    ports: Listening,
    findings: Findings,
) -> None:
    assert pod.sidecar is not None
    at = (*place, "targetPort")
    label = f"port {port.get('port')} leads to {target}"
    instead = f"write targetPort: {ports.public}"
    if isinstance(target, int):
        if target == ports.management:
            _management(service, at, target, findings)
        elif target != ports.public:
            whose = f"of {pod.resource.title}, past the sidecar" if target in ports.app else "where no sidecar listens"
            findings.add(service, at, f"{label} {whose}", instead)
        return
    numbers = {number for number, name, _ in pod.sidecar.ports() if name == target}
    of_others = {each.name: number for each in pod.others for number, name, _ in each.ports() if name == target}
    if of_others and numbers:
        findings.add(service, at, f"{label}, a name that the sidecar and {_list(of_others)} both have", instead)
    elif of_others:
        ((container, number),) = list(of_others.items())[:1]
        findings.add(service, at, f"{label}, which is port {number} of the container {container}", instead)
    elif not numbers:
        findings.add(service, at, f"{label}, a name that no port of {pod.resource.title} has", instead)
    elif ports.management in numbers:
        _management(service, at, ports.management, findings)


def _management(service: Resource, at: tuple[Step, ...], target: int, findings: Findings) -> None:
    kind = service.at("spec", "type")
    if kind in ("LoadBalancer", "NodePort"):
        what = f"shows the management listener ({target}) outside the cluster"
        findings.add(service, at, what, "make it a ClusterIP, for Prometheus alone")


def host_ports(pod: Pod, findings: Findings) -> None:
    """Report ports of the app that the node itself passes on."""
    if pod.spec.get("hostNetwork") is True:
        what = "uses the node's network: the app's port is open at the node's address"
        findings.add(pod.resource, (*pod.spec_path, "hostNetwork"), what, "remove hostNetwork")
    for container in pod.others:
        for index, port in enumerate(mappings(container.body.get("ports"))):
            if port.get("hostPort"):
                what = f"the container {container.name} has a hostPort ({port['hostPort']}), past the sidecar"
                place = (*container.path, "ports", index, "hostPort")
                findings.add(pod.resource, place, what, "remove it")


def network_policies(pod: Pod, ports: Listening, resources: Sequence[Resource], findings: Findings) -> None:
    """Report policies that admit the app's port, and a pod whose app's port none closes."""
    chosen = list(_policies(pod, resources))
    if not chosen:
        findings.note(
            pod.resource,
            pod.spec_path,
            f"no NetworkPolicy closes the app's ports ({_list(map(str, sorted(ports.app)))}) to other pods",
            f"add one that admits {ports.public}, and {ports.management} for Prometheus",
        )
    for policy in chosen:
        exempt = _exempt(policy)
        for index, rule in enumerate(mappings(policy.at("spec", "ingress"))):
            reached = _admitted(rule, pod) & ports.app if rule.get("ports") else ports.app
            if admitted := sorted(port for port in reached if str(port) not in exempt):
                what = f"admits the app's port {_list(map(str, admitted))}"
                instead = f"list the ports that may be reached: {ports.public}, and {ports.management} for Prometheus"
                findings.add(policy, ("spec", "ingress", index), what, instead)


def _closed(pod: Pod, ports: Listening, resources: Sequence[Resource]) -> bool:
    """Return whether a NetworkPolicy selects the pod and none admits the app's ports."""
    chosen = list(_policies(pod, resources))
    scratch = Findings()
    network_policies(pod, ports, chosen, scratch)
    return bool(chosen) and not scratch.problems


def _policies(pod: Pod, resources: Sequence[Resource]) -> list[Resource]:
    return [
        each
        for each in resources
        if each.kind == "NetworkPolicy"
        and each.namespace == pod.resource.namespace
        and "Ingress" in (words(each.at("spec", "policyTypes")) or ["Ingress"])
        and selects(each.at("spec", "podSelector") or {}, pod.labels)
    ]


def _admitted(rule: Mapping[str, Any], pod: Pod) -> set[int]:
    """Return the ports of a pod that one ingress rule admits over TCP; of a range those that are declared."""
    admitted: set[int] = set()
    for port in mappings(rule.get("ports")):
        number = port.get("port")
        if port.get("protocol", "TCP") != "TCP":
            continue
        declared = [(each, name) for container in pod.containers for each, name, _ in container.ports()]
        if number is None:
            admitted |= {each for each, _ in declared}
        elif isinstance(number, int):
            last = port.get("endPort", number)
            admitted |= {number} | {each for each, _ in declared if isinstance(last, int) and number <= each <= last}
        else:
            admitted |= {each for each, name in declared if name == number}
    return admitted


def _exempt(resource: Resource) -> set[str]:
    return {name.strip() for name in resource.annotations.get(UNGUARDED, "").split(",")}


def _list(names: Any) -> str:
    return ", ".join(names)
