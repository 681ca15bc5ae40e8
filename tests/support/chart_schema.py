"""Writes deploy/helm/chat-sidecar/values.schema.json: what the chart's values may be, and the policy's own schema in it.

.venv/bin/python -m tests.support.chart_schema > deploy/helm/chat-sidecar/values.schema.json
"""

from __future__ import annotations

import json
from typing import Any

from sidecar.policy.document.json_schema import json_schema

TEXT = {"type": "string"}
NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"}
OPTIONAL_NAME = {"anyOf": [NAME, {"const": ""}]}
IMAGE = {"type": "string", "pattern": "^[^\\s]+$"}
PULL = {"enum": ["Always", "IfNotPresent", "Never"]}
FLAG = {"type": "boolean"}
MAP = {"type": "object"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
NO_SIDECAR_PORT = {**PORT, "not": {"enum": [8080, 9090]}, "description": "8080 and 9090 are the sidecar's"}
WORDS = {"type": "array", "items": TEXT}
MAPS = {"type": "array", "items": MAP}
SOME_MAP = {"type": ["object", "null"]}
ENV = {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": TEXT}}}
NOT_OURS = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "not": {"pattern": "^chat-sidecar"}}},
}
THINGS = {"type": "array", "items": NOT_OURS}
RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": MAP, "limits": MAP, "claims": MAPS},
}


def count(least: int, most: int = 100_000) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """Return the schema of a mapping that has these keys and no other."""
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def values_schema() -> dict[str, Any]:
    """Return the whole schema."""
    policy = json_schema()
    # `version`, `listen` and `backend.url` are the chart's own, so nothing of them has to be written.
    policy["$defs"]["Backend"]["required"].remove("url")
    return {
        "$schema": policy["$schema"],
        "title": "Values of the chart chat-sidecar",
        "$defs": policy["$defs"],
        **closed(
            ("app", "sidecar", "policy"),
            app=closed(
                ("image", "port"),
                image=IMAGE,
                pullPolicy=PULL,
                command=WORDS,
                args=WORDS,
                port=NO_SIDECAR_PORT,
                extraPorts={
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "containerPort"],
                        "properties": {
                            "name": {"type": "string", "not": {"enum": ["app", "chat-sidecar", "sidecar-mgmt"]}},
                            "containerPort": NO_SIDECAR_PORT,
                        },
                    },
                },
                env=ENV,
                envFrom=MAPS,
                volumeMounts=THINGS,
                readinessProbe=SOME_MAP,
                livenessProbe=SOME_MAP,
                startupProbe=SOME_MAP,
                lifecycle=SOME_MAP,
                drainSeconds=count(0, 86_400),
                resources=RESOURCES,
                securityContext=MAP,
            ),
            sidecar=closed(
                ("image", "existingSecret"),
                image=IMAGE,
                pullPolicy=PULL,
                existingSecret={**NAME, "description": "a Secret with the keys encryption-key and jwt-secret"},
                env=ENV,
                envFrom=MAPS,
                volumeMounts=THINGS,
                resources=RESOURCES,
            ),
            pod=closed(
                labels=TEXTS,
                annotations=TEXTS,
                initContainers=THINGS,
                containers=THINGS,
                volumes=THINGS,
                securityContext=MAP,
                terminationGracePeriodSeconds={"type": ["integer", "null"], "minimum": 0},
                nodeSelector=TEXTS,
                tolerations=MAPS,
                affinity=MAP,
                priorityClassName=OPTIONAL_NAME,
                topologySpreadConstraints={"type": ["array", "null"], "items": MAP},
            ),
            serviceAccount=closed(create=FLAG, name=OPTIONAL_NAME, annotations=TEXTS),
            replicas=count(0),
            autoscaling=closed(enabled=FLAG, minReplicas=count(1), maxReplicas=count(1), cpuPercent=count(1, 1000)),
            disruptionBudget=closed(
                enabled=FLAG, maxUnavailable={"anyOf": [count(0), {"type": "string", "pattern": "^[0-9]{1,3}%$"}]}
            ),
            imagePullSecrets={"type": "array", "items": closed(("name",), name=NAME)},
            service=closed(type={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}, port=PORT, annotations=TEXTS),
            networkPolicy=closed(
                enabled=FLAG, ingressNamespace=NAME, monitoringNamespace=NAME, extraIngress=MAPS, annotations=TEXTS
            ),
            monitoring=closed(
                podMonitor=FLAG,
                serviceMonitor=FLAG,
                prometheusRule=FLAG,
                labels=TEXTS,
                interval={"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
            ),
            policy={"type": "object", "additionalProperties": False, "properties": policy["properties"]},
            # Helm gives these to a chart that another one depends on.
            **{"global": MAP},
        ),
    }


if __name__ == "__main__":
    print(json.dumps(values_schema(), indent=2, ensure_ascii=False))
