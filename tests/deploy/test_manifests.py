"""The manifests: accepted by Kubernetes' own schemas, and safe in the ways that a schema does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLE = DEPLOY / "kubernetes/example.yaml"
OVERLAY = DEPLOY / "kubernetes/overlay/chat.yaml"
COMPONENT = DEPLOY / "kubernetes/component"
# The first version in which native sidecars are final, and the newest that is known here.
VERSIONS = ["1.33", kubernetes_validate.latest_version()]


def resources(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def named(kind: str, path: Path = EXAMPLE) -> dict[str, Any]:
    (found,) = [resource for resource in resources(path) if resource["kind"] == kind]
    return found


def pod() -> dict[str, Any]:
    return named("Deployment")["spec"]["template"]["spec"]


def sidecar() -> dict[str, Any]:
    (container,) = pod()["initContainers"]
    return container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", [EXAMPLE, OVERLAY], ids=lambda p: p.name)
def test_kubernetes_accepts_every_resource(path, version):
    kinds = set()
    for resource in resources(path):
        # An unknown kind raises SchemaNotFoundError here, so it is a failure and not a warning.
        kubernetes_validate.validate(resource, version, strict=True)
        kinds.add(resource["kind"])
    assert {"Deployment", "Service"} <= kinds


def test_an_unknown_kind_or_key_would_be_noticed():
    deployment = named("Deployment")
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate({**deployment, "kind": "Sidecar"}, VERSIONS[0], strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**deployment, "sidecar": True}, VERSIONS[0], strict=True)


@pytest.mark.parametrize("container", [*pod()["initContainers"], *pod()["containers"]], ids=lambda c: c["name"])
def test_each_container_is_confined(container):
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] == "256Mi"
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_the_pod_runs_as_a_numbered_user_without_a_token():
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["serviceAccountName"] == named("ServiceAccount")["metadata"]["name"]
    assert named("ServiceAccount")["automountServiceAccountToken"] is False
    # Whatever the pod says: an empty directory stands where the token would be.
    token = next(mount for mount in sidecar()["volumeMounts"] if "serviceaccount" in mount["mountPath"])
    assert token == {
        "name": "chat-sidecar-no-token",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }
    context = pod()["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["fsGroup"]) == (True, 65532, 65532)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_sidecar_is_native_and_waits_for_no_container():
    container = sidecar()
    assert container["restartPolicy"] == "Always"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == 9090
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"


def test_probes_reach_the_management_listener():
    policy = yaml.safe_load(named("ConfigMap")["data"]["policy.yaml"])
    # The kubelet comes to the pod's address: a listener on loopback would never be ready.
    assert policy["listen"]["management"]["address"] == "0.0.0.0:9090"
    assert policy["listen"]["public"]["address"] == "0.0.0.0:8080"


def test_the_drain_fits_into_the_grace_period():
    app = pod()["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] >= app + 30 + sidecar()["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_the_service_leads_to_the_sidecar_by_number():
    assert [port["targetPort"] for port in named("Service")["spec"]["ports"]] == [8080]


def test_the_policy_is_mounted_as_a_directory():
    mounts = {mount["name"]: mount for mount in sidecar()["volumeMounts"]}
    assert not any("subPath" in mount for mount in mounts.values())
    assert mounts["chat-sidecar-policy"]["mountPath"] == "/etc/sidecar"
    assert "/etc/sidecar/policy.yaml" in sidecar()["args"]
    assert mounts["chat-sidecar-policy"]["readOnly"] is mounts["chat-sidecar-secrets"]["readOnly"] is True


def test_secrets_come_as_files_and_the_placeholders_cannot_be_used():
    placeholders = named("Secret")["stringData"]
    items = next(volume for volume in pod()["volumes"] if volume["name"] == "chat-sidecar-secrets")["secret"]["items"]
    assert {item["key"] for item in items} == set(placeholders)
    assert all(len(value.encode()) < 32 for value in placeholders.values())
    files = {variable["name"]: variable.get("value", "") for variable in sidecar()["env"]}
    assert files["ENCRYPTION_KEY_FILE"] == "/var/run/secrets/sidecar/encryption-key"
    assert files["JWT_SECRET_FILE"] == "/var/run/secrets/sidecar/jwt-secret"


def test_only_the_sidecars_ports_are_open_to_other_pods():
    ingress = named("NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in ingress for port in rule["ports"]} == {8080, 9090}
    assert all(rule["from"] for rule in ingress)


def test_the_component_adds_the_same_sidecar():
    patch = yaml.safe_load((COMPONENT / "sidecar.yaml").read_text())["spec"]["template"]["spec"]
    (added,) = patch["initContainers"]
    # A foreign pod has its own securityContext: what the example says for the pod, the component says for its container.
    own = {"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"}
    alone = {key: value for key, value in added["securityContext"].items() if key not in own}
    assert {**added, "securityContext": alone} == sidecar()
    assert own <= added["securityContext"].keys()
    policy = yaml.safe_load((OVERLAY.parent / "policy.yaml").read_text())
    assert policy == yaml.safe_load(named("ConfigMap")["data"]["policy.yaml"])


def test_the_component_names_files_that_exist():
    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    names = [*component["resources"], *(patch["path"] for patch in component["patches"])]
    assert all((COMPONENT / name).is_file() for name in names)


def test_every_name_of_the_sidecar_is_one_that_no_app_has():
    patch = yaml.safe_load((COMPONENT / "sidecar.yaml").read_text())["spec"]["template"]["spec"]
    names = [volume["name"] for volume in patch["volumes"]]
    names += [port["name"] for container in patch["initContainers"] for port in container["ports"]]
    names += [container["name"] for container in patch["initContainers"]]
    assert all("sidecar" in name for name in names)
    assert all(len(port["name"]) <= 15 for port in patch["initContainers"][0]["ports"])  # RFC 6335, as Kubernetes asks


def test_replicas_spread_over_nodes_and_zones_and_follow_the_load():
    keys = {spread["topologyKey"] for spread in pod()["topologySpreadConstraints"]}
    assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    scaler = named("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}
    assert scaler["minReplicas"] >= 2


MONITORING = DEPLOY / "kubernetes/monitoring"


def test_the_monitors_scrape_the_management_port_of_labelled_pods():
    (monitor,) = resources(MONITORING / "podmonitor.yaml")
    label = yaml.safe_load((COMPONENT / "sidecar.yaml").read_text())["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"] == label
    ports = {port["name"]: port["containerPort"] for port in sidecar()["ports"]}
    assert ports[monitor["spec"]["podMetricsEndpoints"][0]["port"]] == 9090
    service, monitor = resources(MONITORING / "servicemonitor.yaml")
    assert service["spec"]["selector"] == label
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [9090]
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_rules_of_the_operator_and_of_the_chart_are_those_that_are_tested():
    rules = (DEPLOY / "monitoring/alerts.yaml").read_text()
    (resource,) = resources(MONITORING / "prometheusrule.yaml")
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load(rules), "write it again: make rules"
    assert (DEPLOY / "helm/chat-sidecar/files/alerts.yaml").read_text() == rules, "write it again: make rules"
