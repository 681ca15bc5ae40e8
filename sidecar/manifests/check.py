"""`sidecar check --kubernetes`: whether rendered manifests lead to the app through the sidecar alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.manifests.findings import Findings
from sidecar.manifests.pods import NAME, WORKLOADS, Container, Listening, Pod, listening, pods
from sidecar.manifests.resources import Resource, at, mappings, selects, texts
from sidecar.manifests.ways_in import host_ports, network_policies, services

LABEL: Final = NAME
ENABLED: Final = "enabled"
GRACE: Final = 30
"""Seconds that Kubernetes gives where a pod says nothing."""


def check(resources: Sequence[Resource]) -> Findings:
    """Return what is wrong with a file's objects as a whole."""
    findings = Findings()
    every = pods(resources)
    guarded = [pod for pod in every if pod.sidecar is not None]
    _labelled(resources, every, findings)
    for pod in guarded:
        ports = listening(pod, resources)
        if ports.missing:
            assumed = "so the ports of the project's own manifests are assumed"
            what = f"its policy is not in this file ({ports.missing}), {assumed}"
            findings.note(pod.resource, pod.spec_path, what, "render the ConfigMap too")
        for line in ports.problems:
            findings.add(pod.resource, pod.spec_path, f"its policy is refused: {line}", "correct the policy")
        _addresses(pod, ports, findings)
        _own_things(pod, findings)
        _life(pod, ports, findings)
        services(pod, ports, resources, findings)
        host_ports(pod, findings)
        network_policies(pod, ports, resources, findings)
    return findings


def guarded(resources: Sequence[Resource]) -> list[str]:
    """Return the workloads that have a sidecar, as messages name them."""
    return [pod.resource.title for pod in pods(resources) if pod.sidecar is not None]


def _labelled(resources: Sequence[Resource], every: Sequence[Pod], findings: Findings) -> None:
    """Report what carries the label `chat-sidecar: enabled` and is not guarded."""
    for pod in every:
        wanted = ENABLED in (pod.resource.labels.get(LABEL), pod.labels.get(LABEL))
        if wanted and pod.sidecar is None:
            what = f"has the label {LABEL}: {ENABLED} and no sidecar"
            findings.add(pod.resource, pod.spec_path, what, "add the component to your overlay, or remove the label")
    for service in resources:
        if service.kind != "Service" or service.labels.get(LABEL) != ENABLED:
            continue
        selector = texts(service.at("spec", "selector"))
        chosen = [
            pod
            for pod in every
            if pod.resource.namespace == service.namespace and selector.items() <= pod.labels.items()
        ]
        for pod in chosen:
            if pod.sidecar is None:
                what = f"has the label {LABEL}: {ENABLED} and leads to {pod.resource.title}, which has no sidecar"
                instead = f"give that workload the label {LABEL}: {ENABLED} too"
                findings.add(service, ("spec", "selector"), what, instead)
        if not chosen:
            what = f"has the label {LABEL}: {ENABLED} and selects no workload of this file"
            findings.add(service, ("spec", "selector"), what, "check the file that is applied, with the workload in it")
    for resource in resources:
        selector = resource.at("spec", "selector")
        template = texts(resource.at("spec", "template", "metadata", "labels"))
        if resource.kind in WORKLOADS and isinstance(selector, dict) and not selects(selector, template):
            what = "does not select its own pods"
            findings.add(resource, ("spec", "selector"), what, "keep the labels of the template as they were")


def _addresses(pod: Pod, ports: Listening, findings: Findings) -> None:
    """Report listeners that nothing could reach, and ports that two containers want."""
    assert pod.sidecar is not None
    if ports.policy is not None:
        listen = ports.policy.listen
        for name, address in (("public", listen.public.address), ("management", listen.management.address)):
            if address.loopback:
                what = f"its policy puts listen.{name} on {address}, which Services and the kubelet cannot reach"
                findings.add(pod.resource, pod.sidecar.path, what, f'write "0.0.0.0:{address.port or 8080}"')
    own = {ports.public: "public", ports.management: "management"}
    for container in pod.others:
        for number, _, place in container.ports():
            if number in own:
                what = f"the container {container.name} has port {number}, and so has the sidecar ({own[number]})"
                findings.add(pod.resource, place, what, f"write another listen.{own[number]}.address into the policy")
    names = {name for _, name, _ in pod.sidecar.ports() if name}
    for container in pod.others:
        for _, name, place in container.ports():
            if name in names:
                what = f"the port name {name} is the sidecar's and that of the container {container.name}"
                findings.add(pod.resource, place, what, "give each port of the pod a name of its own")


def _own_things(pod: Pod, findings: Findings) -> None:
    """Report names that occur twice, and secrets of the sidecar that other containers mount."""
    assert pod.sidecar is not None
    seen: set[str] = set()
    for container in pod.containers:
        if container.name in seen:
            what = f"has two containers of the name {container.name}"
            findings.add(pod.resource, container.path, what, "rename one")
        seen.add(container.name)
    volumes: set[str] = set()
    for index, volume in enumerate(mappings(pod.spec.get("volumes"))):
        name = str(volume.get("name"))
        if name in volumes:
            place = (*pod.spec_path, "volumes", index)
            findings.add(pod.resource, place, f"has two volumes of the name {name}", "rename one")
        volumes.add(name)
    secret = {str(volume.get("name")) for volume in mappings(pod.spec.get("volumes")) if _is_secret(volume)}
    own = secret & pod.sidecar.mounts().keys()
    for container in pod.others:
        for name in sorted(own & container.mounts().keys()):
            what = f"the container {container.name} mounts {name}, which holds the sidecar's secrets"
            findings.add(pod.resource, (*container.path, "volumeMounts"), what, "give it a volume of its own")


def _is_secret(volume: object) -> bool:
    projected = at(volume, "projected", "sources")
    return at(volume, "secret") is not None or any("secret" in source for source in mappings(projected))


def _life(pod: Pod, ports: Listening, findings: Findings) -> None:
    """Report probes that wait for one another, and an end that comes before streams have ended."""
    sidecar = pod.sidecar
    assert sidecar is not None
    for probe in ("startupProbe", "livenessProbe"):
        if at(sidecar.body, probe, "httpGet", "path") == "/readyz":
            startup = "the app starts only after it, so /readyz may wait for what cannot be there yet"
            why = startup if probe == "startupProbe" else "a drain would restart it"
            what = f"the sidecar's {probe} asks /readyz: {why}"
            instead = "write /livez there, and /readyz in readinessProbe"
            findings.add(pod.resource, (*sidecar.path, probe), what, instead)
    if not sidecar.native:
        what = "the sidecar is an ordinary container: it starts and ends together with the app, in no order"
        findings.note(pod.resource, sidecar.path, what, "move it to initContainers with restartPolicy: Always")
    drain = ports.policy.listen.drain + ports.policy.listen.drain_delay if ports.policy is not None else 35.0
    needs = max(_sleep(each) for each in pod.others) + drain if pod.others else drain
    grace = pod.spec.get("terminationGracePeriodSeconds", GRACE)
    if isinstance(grace, int) and grace < needs:
        what = f"ends after {grace} s, and streams need up to {needs:.0f} s (the app's preStop and the sidecar's drain)"
        instead = f"write terminationGracePeriodSeconds: {needs:.0f} or more, or a shorter listen.drain"
        findings.note(pod.resource, (*pod.spec_path, "terminationGracePeriodSeconds"), what, instead)


def _sleep(container: Container) -> float:
    seconds = at(container.body, "lifecycle", "preStop", "sleep", "seconds")
    return float(seconds) if isinstance(seconds, int) else 0.0
