"""A file of Kubernetes manifests as values that know their lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from sidecar.errors import ConfigError

MAX_BYTES: Final = 16 * 1024 * 1024
_LOADER: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

Step: TypeAlias = str | int
Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One object of the API. `node` is its YAML, for the line of a value."""

    kind: str
    name: str
    namespace: str
    body: Mapping[str, Any]
    node: yaml.Node

    @property
    def title(self) -> str:
        """How messages name it: `Service/chat`."""
        return f"{self.kind}/{self.name}"

    @property
    def labels(self) -> Labels:
        """Its own labels."""
        return texts(self.at("metadata", "labels"))

    @property
    def annotations(self) -> Labels:
        """Its annotations."""
        return texts(self.at("metadata", "annotations"))

    def at(self, *path: Step) -> Any:
        """Return the value at a path; None where there is none."""
        return at(self.body, *path)

    def line(self, *path: Step) -> int:
        """Return the line of the value at a path, or of the nearest part of it that is written."""
        node, line = self.node, self.node.start_mark.line
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            node, line = child, child.start_mark.line
        return int(line) + 1


def read(text: bytes, source: str) -> list[Resource]:
    """Return every object of a multi-document file, those in a List too. ConfigError: it is no such file."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source} is larger than {MAX_BYTES // 1024 // 1024} MiB")
    loader = _LOADER(text)
    try:
        found: list[Resource] = []
        while loader.check_node():
            node = loader.get_node()
            found += _objects(loader.construct_document(node), node)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        why = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{source}{place}: is not valid YAML ({why})") from None
    finally:
        loader.dispose()
    return found


def _objects(value: Any, node: yaml.Node) -> Iterator[Resource]:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return
    items = value.get("items")
    if value["kind"].endswith("List") and isinstance(items, list):
        nodes = _child(node, "items")
        for number, item in enumerate(items):
            inner = _child(nodes, number) if nodes is not None else None
            yield from _objects(item, inner if inner is not None else node)
        return
    name, namespace = at(value, "metadata", "name"), at(value, "metadata", "namespace")
    yield Resource(value["kind"], str(name or ""), str(namespace or ""), value, node)


def _child(node: yaml.Node, step: Step) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def at(value: Any, *path: Step) -> Any:
    """Return what is at a path of plain values; None where there is nothing."""
    for step in path:
        if isinstance(value, list):
            value = value[step] if isinstance(step, int) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list; what is no list has none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(value: Any) -> list[str]:
    """Return the texts of a list; what is no list has none."""
    return [str(item) for item in value] if isinstance(value, list) else []


def texts(value: Any) -> Labels:
    """Return a mapping of texts to texts, such as labels; what is none has none."""
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def selects(selector: Any, labels: Labels) -> bool:
    """Return whether a label selector (`matchLabels`, `matchExpressions`) selects these labels; {} selects all."""
    if not isinstance(selector, dict):
        return False
    if any(labels.get(key) != value for key, value in texts(selector.get("matchLabels")).items()):
        return False
    return all(_holds(rule, labels) for rule in mappings(selector.get("matchExpressions")))


def _holds(rule: Mapping[str, Any], labels: Labels) -> bool:
    value, values = labels.get(str(rule.get("key"))), words(rule.get("values"))
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(str(rule.get("operator")), False)
