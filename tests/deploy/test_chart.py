"""The chart, rendered by Helm's own engine: accepted by Kubernetes, safe, and as the values ask."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

import sidecar
from sidecar.__main__ import main
from sidecar.manifests.check import check
from sidecar.manifests.resources import read
from tests.support.chart_schema import values_schema
from tests.support.helm import CHART, Refused, render

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SECRET = {"sidecar": {"existingSecret": "chat-secrets"}}
OPERATOR = ("PodMonitor", "ServiceMonitor", "PrometheusRule")


def values(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = deepcopy(SECRET)
    for name, section in more.items():
        made[name] = {**made.get(name, {}), **section} if isinstance(section, dict) else section
    return made


def kinds(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {resource["kind"]: resource for resource in resources}


def pod(resources: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = kinds(resources)["Deployment"]["spec"]["template"]["spec"]
    return spec


EVERYTHING = values(
    monitoring={"podMonitor": True, "serviceMonitor": True, "prometheusRule": True, "labels": {"release": "stack"}},
    autoscaling={"enabled": True},
    app={
        "envFrom": [{"configMapRef": {"name": "chat-env"}}],
        "volumeMounts": [{"name": "uploads", "mountPath": "/uploads"}],
        "extraPorts": [{"name": "metrics", "containerPort": 9100}],
        "livenessProbe": {"httpGet": {"path": "/live", "port": "app"}},
    },
    pod={
        "volumes": [{"name": "uploads", "emptyDir": {}}],
        "initContainers": [{"name": "migrate", "image": "registry.example.com/app:1"}],
        "containers": [{"name": "worker", "image": "registry.example.com/app:1"}],
        "labels": {"team": "chat"},
        "annotations": {"example.com/note": "1"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "chat", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
    },
)
USES = {
    "as little as possible": values(),
    "everything": EVERYTHING,
    "nothing but the pod": values(
        networkPolicy={"enabled": True},
        disruptionBudget={"enabled": False},
        serviceAccount={"create": False, "name": "own"},
        pod={"topologySpreadConstraints": []},
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_kubernetes_accepts_it_and_the_app_is_reached_through_the_sidecar_alone(use: dict[str, Any]) -> None:
    resources = render(use)
    for resource in resources:
        if resource["kind"] not in OPERATOR:
            kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    findings = check(read(yaml.safe_dump_all(resources).encode(), "rendered"))
    assert findings.found == []


def test_the_chart_runs_the_sidecar_of_the_example() -> None:
    example = [each for each in yaml.safe_load_all((CHART.parents[1] / "kubernetes/example.yaml").read_text()) if each]
    wanted, made = pod(example), pod(render(values()))
    (theirs,), (ours,) = wanted["initContainers"], made["initContainers"]
    # The chart's pod has no token at all, and its Secret has the user's name.
    theirs["volumeMounts"] = [each for each in theirs["volumeMounts"] if each["name"] != "chat-sidecar-no-token"]
    assert {**ours, "imagePullPolicy": None} == {**theirs, "imagePullPolicy": None}
    for key in ("securityContext", "terminationGracePeriodSeconds", "automountServiceAccountToken"):
        assert made[key] == wanted[key]
    assert [volume["name"] for volume in made["volumes"]] == [
        "chat-sidecar-policy", "chat-sidecar-secrets", "chat-sidecar-data",
    ]  # fmt: skip


def test_its_policy_compiles_and_a_value_wins_over_the_charts_own(tmp_path: Path, capsys: Any) -> None:
    policy = {"backend": {"timeouts": {"connect": "5s"}}, "requests": {"max_connections": 1_000_000}}
    resources = render(values(policy=policy, app={"port": 8000}))
    path = tmp_path / "policy.yaml"
    path.write_text(kinds(resources)["ConfigMap"]["data"]["policy.yaml"])
    assert main(["check", "--all", str(path)]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert "http://127.0.0.1:8000" in said
    assert yaml.safe_load(path.read_text())["requests"]["max_connections"] == 1_000_000
    assert yaml.safe_load(path.read_text())["backend"]["timeouts"] == {"connect": "5s"}


OWN = {
    "image": "registry.example.com/app:2",
    "pullPolicy": "Always",
    "command": ["serve"],
    "args": ["--fast"],
    "env": [{"name": "MODE", "value": "chat"}],
    "envFrom": [{"secretRef": {"name": "chat-env"}}],
    "volumeMounts": [{"name": "uploads", "mountPath": "/uploads"}],
    "readinessProbe": {"exec": {"command": ["ready"]}},
    "livenessProbe": {"exec": {"command": ["live"]}},
    "startupProbe": {"exec": {"command": ["up"]}},
    "lifecycle": {"preStop": {"exec": {"command": ["drain"]}}},
    "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
    "securityContext": {
        "allowPrivilegeEscalation": True, "readOnlyRootFilesystem": False, "capabilities": {"drop": ["ALL"]},
    },
}  # fmt: skip


def test_every_setting_of_the_app_can_be_another_one() -> None:
    assert {*OWN, "port", "extraPorts", "drainSeconds"} == VALUES["app"].keys()
    made = render(values(app={**OWN, "port": 8000, "extraPorts": [{"name": "metrics", "containerPort": 9100}]}))
    (app,) = pod(made)["containers"]
    # Probes and lifecycle are merged with the defaults by Helm, so their defaults are taken out by null.
    for name in OWN.keys() - {"pullPolicy", "readinessProbe"}:
        assert app[name] == OWN[name], name
    assert app["imagePullPolicy"] == "Always"
    assert app["readinessProbe"]["exec"] == OWN["readinessProbe"]["exec"]
    assert app["ports"] == [{"name": "app", "containerPort": 8000}, {"name": "metrics", "containerPort": 9100}]


def test_null_takes_a_default_away() -> None:
    made = render(values(app={"readinessProbe": None, "lifecycle": {}, "command": []}))
    (app,) = pod(made)["containers"]
    assert not {"readinessProbe", "lifecycle", "command"} & app.keys()


def test_the_grace_period_follows_the_drain_or_is_what_was_said() -> None:
    assert pod(render(values(app={"drainSeconds": 120})))["terminationGracePeriodSeconds"] == 165
    assert pod(render(values(pod={"terminationGracePeriodSeconds": 300})))["terminationGracePeriodSeconds"] == 300


def test_replicas_are_the_scalers_where_there_is_one() -> None:
    assert kinds(render(values()))["Deployment"]["spec"]["replicas"] == 2
    made = kinds(render(EVERYTHING))
    assert "replicas" not in made["Deployment"]["spec"]
    assert made["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == made["Deployment"]["metadata"]["name"]


def test_monitors_select_the_pods_and_the_rules_are_those_that_are_tested() -> None:
    made = kinds(render(EVERYTHING))
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["PodMonitor"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (management,) = [
        each
        for each in render(EVERYTHING)
        if each["kind"] == "Service" and each["metadata"]["name"].endswith("management")
    ]
    assert made["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= management["metadata"]["labels"].items()
    rules = yaml.safe_load((CHART.parents[1] / "monitoring/alerts.yaml").read_text())
    assert made["PrometheusRule"]["spec"] == rules
    for kind in OPERATOR:
        assert made[kind]["metadata"]["labels"]["release"] == "stack"


def test_a_service_account_of_its_own_has_no_token() -> None:
    made = kinds(render(values()))
    assert made["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod([made["Deployment"]])["serviceAccountName"] == made["ServiceAccount"]["metadata"]["name"]


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "no Secret": ({}, "/sidecar/existingSecret"),
    "an unknown key": (values(sidcar={}), "sidcar"),
    "an unknown key of the app": (values(app={"prot": 1}), "prot"),
    "a port that is a word": (values(app={"port": "web"}), "/app/port"),
    "the sidecar's port": (values(app={"port": 8080}), "/app/port"),
    "a second port of the sidecar's": (
        values(app={"extraPorts": [{"name": "x", "containerPort": 9090}]}),
        "/app/extraPorts/0/containerPort",
    ),
    "replicas that are a word": (values(replicas="two"), "/replicas"),
    "a kind of Service that there is not": (values(service={"type": "Public"}), "/service/type"),
    "a volume with a name of ours": (
        values(pod={"volumes": [{"name": "chat-sidecar-data", "emptyDir": {}}]}),
        "/pod/volumes/0/name",
    ),
    "a container without a name": (values(pod={"containers": [{"image": "x"}]}), "/pod/containers/0"),
    "an unknown key of the policy": (values(policy={"corss": {}}), "/policy"),
    "a deep unknown key of the policy": (values(policy={"cors": {"allowed": []}}), "/policy/cors"),
    "a duration without a unit": (values(policy={"sessions": {"max_age": 24}}), "/policy/sessions/max_age"),
    "a limit that is a word": (
        values(policy={"rate_limits": [{"name": "a", "per": "ip", "limit": "many", "window": "1m"}]}),
        "/policy/rate_limits/0/limit",
    ),
}


@pytest.mark.parametrize(("given", "place"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused_with_its_place(given: dict[str, Any], place: str) -> None:
    with pytest.raises(Refused) as refused:
        render(given)
    assert place in str(refused.value)


def test_the_schema_is_the_one_of_the_code_and_its_defaults_are_valid() -> None:
    written = json.loads((CHART / "values.schema.json").read_text())
    assert written == values_schema(), "write it again: make schema"
    jsonschema.Draft202012Validator.check_schema(written)
    jsonschema.validate({**VALUES, "sidecar": {**VALUES["sidecar"], **SECRET["sidecar"]}}, written)


def test_every_value_has_a_schema() -> None:
    def missing(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
        if not isinstance(value, dict) or schema.get("additionalProperties") is not False:
            return []
        return [
            found
            for key, inner in value.items()
            for found in (
                missing(inner, schema["properties"][key], f"{path}/{key}")
                if key in schema["properties"]
                else [f"{path}/{key}"]
            )
        ]

    assert missing({key: value for key, value in VALUES.items() if key != "policy"}, values_schema()) == []


def test_the_chart_is_of_this_version_and_makes_up_no_secret() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == sidecar.__version__
    assert VALUES["sidecar"]["existingSecret"] == ""
    assert not any("kind: Secret" in template.read_text() for template in (CHART / "templates").iterdir())
