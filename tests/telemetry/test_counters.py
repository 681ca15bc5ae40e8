"""Alert rules and the dashboard: promtool accepts them, and every metric that they name exists."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sidecar.telemetry.counters import OTHER
from sidecar.vocabulary import Event, Outcome
from tests.telemetry.test_metrics import full, samples

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
GROUPS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
RULES = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
TESTS = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OWN = ("namespace", "job", "pod", "instance", "route")
VARIABLES = {"$__rate_interval": "5m", **{f"${name}": ".*" for name in OWN}}


def dashboard_expressions():
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for variable, value in VARIABLES.items():
        found = [expression.replace(variable, value) for expression in found]
    return found


EXPRESSIONS = [rule["expr"] for group in GROUPS for rule in group["rules"]] + dashboard_expressions()


def promtool_says(promtool, *arguments):
    said = subprocess.run([promtool, *arguments], text=True, capture_output=True, cwd=FOLDER, check=False)
    return said.returncode, said.stdout + said.stderr


def test_promtool_accepts_the_rules(promtool):
    code, said = promtool_says(promtool, "check", "rules", "alerts.yaml")
    assert code == 0, said
    assert f"{len(RULES) + len(RECORDED)} rules found" in said


def test_the_alerts_fire_when_they_should(promtool):
    code, said = promtool_says(promtool, "test", "rules", "alerts.test.yaml")
    assert code == 0, said


def test_prometheus_can_parse_every_panel(promtool, tmp_path):
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(dashboard_expressions())]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    code, said = promtool_says(promtool, "check", "rules", str(path))
    assert code == 0, said


def test_every_metric_that_is_named_exists_and_every_metric_is_shown():
    exist = {name for name, _ in samples(full())}
    named = {name for text in EXPRESSIONS for name in re.findall(r"(?<!:)\b(?:sidecar|process)_\w+", text)}
    assert named <= exist
    shown = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in named}
    ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exist if name.startswith("sidecar_")}
    assert ours <= shown


def test_every_label_that_is_named_exists():
    labels: dict[str, set[str]] = {}
    for name, pairs in samples(full()):
        labels.setdefault(name, {"namespace", "job", "pod", "instance"}).update(key for key, _ in pairs)
    for text in EXPRESSIONS:
        for name, chosen in re.findall(r"(?<!:)\b((?:sidecar|process)_\w+)\{([^}]*)\}", text):
            assert set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", chosen)) <= labels[name], text


@pytest.mark.parametrize("text", EXPRESSIONS, ids=lambda text: text[:50])
def test_events_and_outcomes_that_are_named_exist(text):
    for value in re.findall(r'event(?:=|!=|=~|!~)"([^"]+)"', text):
        assert set(value.split("|")) <= Event.__members__.keys()
    for value in re.findall(r'outcome=~?"([^"]+)"', text):
        own = {"delivered", "lost"} if "sidecar_webhook_events" in text else set()
        assert set(value.split("|")) <= {outcome.value for outcome in Outcome} | own


def test_every_alert_says_what_to_do_and_stands_in_the_documentation():
    page = (ROOT / "docs" / "observability.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")
        assert rule["alert"] in page


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_runbook_page_of_one_form(rule):
    url = rule["annotations"]["runbook_url"]
    assert url.endswith(f"/docs/runbooks/{rule['alert']}.md")
    page = (RUNBOOKS / f"{rule['alert']}.md").read_text()
    assert re.findall(r"^#+ .*$", page, re.MULTILINE) == [
        f"# {rule['alert']}", "## What it means", "## Three things to look at", "## How to end it",
    ]  # fmt: skip
    assert re.findall(r"^(\d)\. \S", page, re.MULTILINE) == ["1", "2", "3"]
    assert all(len(part.strip()) > 40 for part in re.split(r"^#+ .*$", page, flags=re.MULTILINE)[2:])


def test_every_runbook_page_is_of_an_alert_and_stands_in_the_index():
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in RULES}
    index = (RUNBOOKS / "README.md").read_text()
    assert all(f"| [{name}]({name}.md) |" in index for name in pages)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_is_tested_where_it_fires_and_where_it_does_not(rule):
    found = [check for test in TESTS for check in test["alert_rule_test"] if check["alertname"] == rule["alert"]]
    assert any(check["exp_alerts"] for check in found)
    assert any(not check["exp_alerts"] for check in found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_are_grouped_by_namespace_and_job_and_those_about_a_process_by_pod(rule):
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
        names = labels.split(", ")
        assert names[:2] == ["namespace", "job"]
        assert ("pod" in names) <= ("instance" in names)


def test_every_metric_stands_in_the_documentation():
    page = (ROOT / "docs" / "observability.md").read_text()
    for name, _ in samples(full()):
        if name.startswith("sidecar_"):
            assert re.sub(r"_(bucket|sum|count|created)$", "", name) in page, name
    assert OTHER in page


def test_panels_have_their_own_places_and_numbers():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells
