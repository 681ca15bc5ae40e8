"""Pods of a file of manifests: which of them have a sidecar, what it listens on, which ports are the app's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.errors import PolicyError
from sidecar.manifests.resources import Labels, Resource, Step, at, mappings, texts, words
from sidecar.policy.compile import compile_policy
from sidecar.policy.document.read import draft_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.policy.schema.policy_schema import PolicySchema

NAME: Final = "chat-sidecar"
"""How the manifests of this project name the container; other names are found by image and command."""
WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
PUBLIC, MANAGEMENT = 8080, 9090


@dataclass(frozen=True, slots=True)
class Container:
    """One container, and where it is in its resource."""

    body: Mapping[str, Any]
    path: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body.get("name", ""))

    @property
    def native(self) -> bool:
        """Whether it is a native sidecar: an init container that stays."""
        return "initContainers" in self.path and self.body.get("restartPolicy") == "Always"

    def ports(self) -> Iterator[tuple[int, str, tuple[Step, ...]]]:
        """Yield number, name and place of each port that it declares over TCP."""
        for index, port in enumerate(mappings(self.body.get("ports"))):
            number = port.get("containerPort")
            if isinstance(number, int) and port.get("protocol", "TCP") == "TCP":
                yield number, str(port.get("name", "")), (*self.path, "ports", index)

    def mounts(self) -> dict[str, str]:
        """Return volume name → where it is mounted."""
        return {
            str(mount.get("name")): str(mount.get("mountPath")) for mount in mappings(self.body.get("volumeMounts"))
        }


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, or the template of a workload's pods."""

    resource: Resource
    spec_path: tuple[Step, ...]
    labels: Labels
    containers: tuple[Container, ...]
    sidecar: Container | None

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pod's spec."""
        found = self.resource.at(*self.spec_path)
        return found if isinstance(found, dict) else {}

    @property
    def others(self) -> tuple[Container, ...]:
        """Its containers but the sidecar."""
        return tuple(each for each in self.containers if each is not self.sidecar)


def pods(resources: Sequence[Resource]) -> list[Pod]:
    """Return every pod of the file."""
    found = []
    for resource in resources:
        if resource.kind in WORKLOADS:
            top: tuple[Step, ...] = ("spec", "template")
        elif resource.kind == "Pod":
            top = ()
        else:
            continue
        spec = (*top, "spec")
        containers = tuple(
            Container(body, (*spec, key, index))
            for key in ("initContainers", "containers")
            for index, body in enumerate(mappings(resource.at(*spec, key)))
        )
        sidecar = next(filter(_is_sidecar, containers), None)
        found.append(Pod(resource, spec, texts(resource.at(*top, "metadata", "labels")), containers, sidecar))
    return found


def _is_sidecar(container: Container) -> bool:
    if container.name == NAME:
        return True
    body = container.body
    said = [*words(body.get("command")), *words(body.get("args"))]
    image = str(body.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
    return NAME in image and (not said or said[0] == "run" or said[:2] == ["sidecar", "run"])


@dataclass(frozen=True, slots=True)
class Listening:
    """What a pod's sidecar listens on, and the ports that it is in front of.

    policy    None: the file has no policy, and the ports are those of the project's own manifests
    missing   the ConfigMap that the policy should come from, when the file does not have it
    problems  lines about the policy itself
    """

    public: int
    management: int
    app: frozenset[int]
    policy: PolicySchema | None = None
    problems: tuple[str, ...] = ()
    missing: str = ""


def listening(pod: Pod, resources: Sequence[Resource]) -> Listening:
    """Find the policy that a pod's sidecar mounts, and read what it says of ports."""
    declared = frozenset(number for container in pod.others for number, _, _ in container.ports())
    text, source = _policy(pod, resources)
    if text is None:
        return Listening(PUBLIC, MANAGEMENT, declared, missing=source)
    try:
        document = draft_policy(text.encode(), {}, name=source)
        compile_policy(document, isolated_services())
    except PolicyError as error:
        return Listening(PUBLIC, MANAGEMENT, declared, problems=tuple(error.lines()))
    schema = document.schema
    urls = [schema.backend.url, *(server.url for server in schema.backends.values())]
    behind = {_port(url) for url in urls} - {0}
    listen = schema.listen
    return Listening(listen.public.address.port, listen.management.address.port, declared | behind, schema)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def _policy(pod: Pod, resources: Sequence[Resource]) -> tuple[str | None, str]:
    """Return the policy of the ConfigMap that the sidecar mounts, None if it is not there, and how messages name it."""
    assert pod.sidecar is not None
    said = " ".join([*words(pod.sidecar.body.get("command")), *words(pod.sidecar.body.get("args"))])
    named = re.search(r"--policy[= ](\S+)", said)
    path = named[1] if named else "/etc/sidecar/policy.yaml"
    mounts = pod.sidecar.mounts()
    for volume in mappings(pod.spec.get("volumes")):
        where = mounts.get(str(volume.get("name")))
        config = at(volume, "configMap", "name")
        if where is None or config is None or not path.startswith(where.rstrip("/") + "/"):
            continue
        for resource in resources:
            if (resource.kind, resource.name, resource.namespace) == ("ConfigMap", config, pod.resource.namespace):
                key = path.removeprefix(where.rstrip("/") + "/")
                text = resource.at("data", key)
                return (text, f"{resource.title} {key}") if isinstance(text, str) else (None, f"{resource.title} {key}")
        return None, f"ConfigMap/{config}"
    return None, ""
