"""Every policy that is shipped or shown compiles, as `sidecar check` says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sidecar.__main__ import main
from sidecar.demo.policy import policy_text

ROOT = Path(__file__).parents[2]


def config_maps(path: Path) -> dict[str, str]:
    found = [resource for resource in yaml.safe_load_all(path.read_text()) if resource["kind"] == "ConfigMap"]
    return {f"{path.name}-{resource['metadata']['name']}": resource["data"]["policy.yaml"] for resource in found}


def of_the_chart() -> str:
    """Put the chart's policy together as templates/configmap.yaml does."""
    values = yaml.safe_load((ROOT / "deploy/helm/chat-sidecar/values.yaml").read_text())
    own = {
        "version": 1,
        "listen": {"public": {"address": "0.0.0.0:8080"}, "management": {"address": "0.0.0.0:9090"}},
        "backend": {"url": f"http://127.0.0.1:{values['app']['port']}"},
    }
    template = (ROOT / "deploy/helm/chat-sidecar/templates/configmap.yaml").read_text()
    assert all(part in template for part in ("0.0.0.0:8080", "0.0.0.0:9090", "http://127.0.0.1:%v"))
    return yaml.safe_dump({**own, **values["policy"]})


def shown() -> dict[str, str]:
    """Return each complete policy of the documents: a YAML block with a version and a backend."""
    pattern = re.compile(r"^```yaml\n(version: 1\n.*?)^```$", re.MULTILINE | re.DOTALL)
    return {
        f"{path.name}-{number}": text
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for number, text in enumerate(pattern.findall(path.read_text()))
        if re.search(r"^backend:", text, re.MULTILINE)
    }


POLICIES = {
    "demo": policy_text(backend="http://127.0.0.1:4001", public="127.0.0.1:4002", management="127.0.0.1:4003"),
    "overlay": (ROOT / "deploy/kubernetes/overlay/policy.yaml").read_text(),
    "post-renderer": (ROOT / "deploy/kubernetes/post-renderer/policy.yaml").read_text(),
    "chart": of_the_chart(),
    **config_maps(ROOT / "deploy/kubernetes/example.yaml"),
    **shown(),
}


@pytest.mark.parametrize("name", POLICIES)
def test_it_compiles(name, tmp_path, capsys):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICIES[name])
    code = main(["check", str(file)])
    said = capsys.readouterr()
    assert code == 0, said.out + said.err


def test_the_documents_show_policies():
    assert len(shown()) >= 2


def test_a_mistake_would_be_found(tmp_path, capsys):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICIES["demo"].replace("routes:", "router:"))
    assert main(["check", str(file)]) == 2
    assert "router" in capsys.readouterr().out
