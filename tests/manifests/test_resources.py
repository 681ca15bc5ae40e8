"""Files of manifests: several documents, lists, lines, selectors, and what is no such file."""

from __future__ import annotations

import pytest

from sidecar.errors import ConfigError
from sidecar.manifests.resources import read, selects

TEXT = b"""\
# a comment
---
kind: Service
metadata: { name: a, namespace: n }
spec:
  ports:
    - port: 80
---
---
kind: List
items:
  - kind: ConfigMap
    metadata: { name: b }
  - { kind: PodList, items: [{ kind: Pod, metadata: { name: c } }] }
---
just a text
---
[a, list]
"""


def test_every_object_is_found_with_its_lines() -> None:
    found = read(TEXT, "f")
    assert [(each.title, each.namespace) for each in found] == [("Service/a", "n"), ("ConfigMap/b", ""), ("Pod/c", "")]
    service = found[0]
    assert (service.line(), service.line("spec", "ports", 0, "port"), service.line("spec", "none")) == (3, 7, 6)
    assert found[1].line("metadata", "name") == 13
    assert service.at("spec", "ports", 7, "port") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"kind: [", "f:2:1: is not valid YAML"),
        (b"kind: !!python/object/apply:os.system [id]", "f:1:7: is not valid YAML"),
        (b"\xff\xfe\xff", "f.*is not valid YAML"),
        (b"a: &a [*a]\nb: " + b"[" * 5000, "f.*is not valid YAML"),
        (b"#" * (16 * 1024 * 1024 + 1), "f is larger than 16 MiB"),
    ],
    ids=["syntax", "a tag", "bytes", "too deep", "too large"],
)
def test_what_is_no_such_file_is_said_in_one_line(text: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        read(text, "f")
    assert "\n" not in str(error.value)


LABELS = {"app": "chat", "tier": "web"}


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"app": "chat"}}, True),
        ({"matchLabels": {"app": "chat", "x": "y"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}, {"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Gt", "values": ["1"]}]}, False),
        (None, False),
    ],
)
def test_label_selectors(selector: object, chosen: bool) -> None:
    assert selects(selector, LABELS) is chosen
