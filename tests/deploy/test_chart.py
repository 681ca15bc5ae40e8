"""The chart, as far as it can be read without Helm: its templates ask for values that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import sidecar

CHART = Path(__file__).parents[2] / "deploy/helm/chat-sidecar"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = sorted((CHART / "templates").iterdir())
USED = re.compile(r"\.Values((?:\.\w+)+)")


def look_up(path: str) -> Any:
    value: Any = VALUES
    for step in path.strip(".").split("."):
        value = value[step]
    return value


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.name)
def test_every_value_that_is_asked_for_exists(template):
    for path in USED.findall(template.read_text()):
        look_up(path)


def test_every_value_is_asked_for():
    asked = {path.strip(".") for template in TEMPLATES for path in USED.findall(template.read_text())}

    def leaves(value: Any, path: str) -> list[str]:
        if path in asked or not isinstance(value, dict):
            return [path]
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}".strip("."))]

    assert set(leaves(VALUES, "")) <= asked


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.name)
def test_blocks_are_closed(template):
    text = template.read_text()
    opened = len(re.findall(r"\{\{-? *(?:if|with|range|define)\b", text))
    assert opened == len(re.findall(r"\{\{-? *end\b", text))
    assert text.count("{{") == text.count("}}")


def test_the_chart_is_of_this_version_and_makes_up_no_secret():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == sidecar.__version__
    assert VALUES["sidecar"]["existingSecret"] == ""
    assert not any("kind: Secret" in template.read_text() for template in TEMPLATES)


def test_the_chart_runs_the_sidecar_of_the_example():
    """Compare the lines that matter, as text: what is confined, probed and mounted."""
    example = (CHART.parents[1] / "kubernetes/example.yaml").read_text()
    template = (CHART / "templates/deployment.yaml").read_text()
    telling = re.compile(
        r"^ *(?:httpGet|restartPolicy|- \{ name: (?:policy|secrets|data)|args: \[run|runAs|fsGroup).*$", re.MULTILINE
    )
    from_example = {line.strip() for line in telling.findall(example)}
    from_chart = {line.strip() for line in telling.findall(template)}
    assert {line for line in from_example if "3001" not in line} <= from_chart
