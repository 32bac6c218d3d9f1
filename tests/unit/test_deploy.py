"""What lies in deploy/ fits the service that it deploys."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from service.api.documentation.openapi import openapi
from service.api.observability.metrics import Metrics
from service.settings import Settings, variable_of

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
VERSIONS = ("1.29", "1.37")
"""The oldest that the manifests are for, and the newest whose schemas are known."""
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
SERVICE_MONITOR: dict[str, Any] = {
    # Of the operator's own monitoring.coreos.com/v1 definition: the fields that are used here.
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["endpoints", "selector"],
            "additionalProperties": False,
            "properties": {
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"matchLabels": LABELS},
                },
                "endpoints": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string", "pattern": "^/"},
                            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                        },
                    },
                },
            },
        },
    },
}

PROMETHEUS_RULE: dict[str, Any] = {
    # Of the same group: the fields that are used here.
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PrometheusRule"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["groups"],
            "additionalProperties": False,
            "properties": {
                "groups": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "rules"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "rules": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["alert", "expr"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "alert": {"type": "string", "pattern": "^[A-Za-z]+$"},
                                        "expr": {"type": "string"},
                                        "for": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                                        "labels": LABELS,
                                        "annotations": LABELS,
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge as kustomize does it, as far as ours needs it: lists merge by `name`."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {k: merged(base[k], patch[k]) if k in base and k in patch else (base | patch)[k]
                for k in base | patch}  # fmt: skip
    if isinstance(base, list) and isinstance(patch, list):
        by_name = {item["name"]: item for item in base}
        for item in patch:
            by_name[item["name"]] = merged(by_name.get(item["name"], {}), item)
        return list(by_name.values())
    return patch


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_the_schemas_of_kubernetes(version: str) -> None:
    found = documents(KUBERNETES / "quincunx.yaml")
    (patch,) = documents(KUBERNETES / "gpu/patch.yaml")
    on_gpu = merged(found[0], patch)
    (container,) = on_gpu["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "2Gi", "nvidia.com/gpu": "1"}
    for document in (*found, on_gpu):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_would_see_a_mistake() -> None:
    deployment = documents(KUBERNETES / "quincunx.yaml")[0]
    for path, value in (
        (("spec", "replicas"), "two"),
        (("spec", "template", "spec", "terminationGracePeriod"), 30),
    ):
        wrong = inner = copy.deepcopy(deployment)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_service_monitor_fits_the_operator_s_definition_and_our_service() -> None:
    (monitor,) = documents(ROOT / "deploy/prometheus/service-monitor.yaml")
    check = Draft202012Validator(SERVICE_MONITOR)
    check.validate(monitor)
    with pytest.raises(ValidationError):
        check.validate(monitor | {"spec": {"endpoints": [{"port": 3000}], "selector": {}}})
    kinds = {d["kind"]: d for d in documents(KUBERNETES / "quincunx.yaml")}
    service = kinds["Service"]
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    assert {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]} <= set(
        openapi()["paths"]
    )


def test_the_alerts_fit_the_operator_s_definition() -> None:
    (rule,) = documents(ROOT / "deploy/prometheus/prometheus-rule.yaml")
    check = Draft202012Validator(PROMETHEUS_RULE)
    check.validate(rule)
    with pytest.raises(ValidationError):
        check.validate(rule | {"spec": {"groups": [{"name": "x", "rules": [{"alert": "X"}]}]}})
    rules = [one for group in rule["spec"]["groups"] for one in group["rules"]]
    assert len({one["alert"] for one in rules}) == len(rules)
    for one in rules:
        for left, right in ("()", "[]", "{}"):
            assert one["expr"].count(left) == one["expr"].count(right)
        by = set(re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", one["expr"]))))
        named = set(re.findall(r"\$labels\.(\w+)", one["annotations"]["summary"]))
        assert named <= (by or {"model", "version", "what"})


def test_what_refers_to_something_in_the_manifests_finds_it() -> None:
    kinds = {d["kind"]: d for d in documents(KUBERNETES / "quincunx.yaml")}
    deployment = kinds["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = (
        deployment["spec"]["selector"]["matchLabels"],
        kinds["Service"]["spec"]["selector"],
        kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    )
    for selector in selectors:
        assert selector.items() <= labels.items()
    target = kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    pod = deployment["spec"]["template"]["spec"]
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    for folder in (KUBERNETES, KUBERNETES / "gpu"):
        (made,) = documents(folder / "kustomization.yaml")
        assert made["kind"] == "Kustomization"
        named = [*made["resources"], *(patch["path"] for patch in made.get("patches", []))]
        assert all((folder / name).exists() for name in named)


def test_the_autoscaler_s_metric_is_the_one_that_the_adapter_makes() -> None:
    kinds = {d["kind"]: d for d in documents(KUBERNETES / "quincunx.yaml")}
    (metric,) = kinds["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (adapter,) = documents(ROOT / "deploy/prometheus/prometheus-adapter.yaml")
    (rule,) = adapter["rules"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert {"seriesQuery", "resources", "metricsQuery"} <= rule.keys()
    for placeholder in ("<<.Series>>", "<<.LabelMatchers>>", "<<.GroupBy>>"):
        assert placeholder in rule["metricsQuery"]


def test_every_panel_asks_a_query_that_is_closed() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/quincunx.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            for left, right in ("()", "[]", "{}"):
                assert target["expr"].count(left) == target["expr"].count(right)


def test_every_metric_that_is_drawn_or_scaled_on_exists() -> None:
    metrics = Metrics()
    observer = metrics.observer("m")
    observer.batch(5, 0.01)
    observer.waited(0.001)
    observer.refused("deadline")
    observer.admitted(0)
    metrics.request("/classify", 200, 0.01)
    metrics.decode_seconds.observe(0.001)
    metrics.image_views.labels("m").observe(5)
    for counter in (metrics.images, metrics.gate):
        counter.labels("m", "x").inc()
    metrics.degraded.labels("m").inc()
    metrics.top_probability.labels("m").observe(0.5)
    metrics.unknown_score.labels("m").observe(0.5)
    metrics.unknown.labels("m").inc()
    text = metrics.expose().decode()
    known = set(re.findall(r"^(?:# TYPE )?(quincunx_\w+)", text, re.MULTILINE))
    asked = set[str]()
    for file in (
        "grafana/quincunx.json", "prometheus/prometheus-adapter.yaml",
        "prometheus/prometheus-rule.yaml",
    ):  # fmt: skip
        asked |= set(re.findall(r"quincunx_\w+", (ROOT / "deploy" / file).read_text()))
    asked.discard("quincunx_queue_wait_p90_seconds")  # what the adapter makes of one of them
    assert asked
    assert asked <= known


def test_the_dashboard_has_a_place_for_every_panel() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/quincunx.json").read_text())
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len(set(places)) == len(places) >= 10


def test_manifests_name_real_settings_and_paths() -> None:
    documents = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/quincunx.yaml").read_text()))
    kinds = {document["kind"]: document for document in documents}
    assert {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"} <= set(kinds)
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    known = {variable_of(name) for name in Settings.model_fields}
    assert {item["name"] for item in container["env"]} <= known
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in openapi()["paths"]
    assert pod["securityContext"]["runAsNonRoot"]
    # Its own Service would put QUINCUNX_PORT=tcp://… and others into every pod.
    assert pod["enableServiceLinks"] is False


def test_the_commands_in_the_documentation_fit_the_manifests() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    pod = next(
        one["spec"]["template"]["spec"]
        for one in yaml.safe_load_all((KUBERNETES / "quincunx.yaml").read_text())
        if one["kind"] == "Deployment"
    )
    container = pod["containers"][0]
    assert f"-t {container['image']} ." in text
    secret = pod["volumes"][0]["secret"]["secretName"]
    path = next(one["value"] for one in container["env"] if "KEYS_FILE" in one["name"])
    mounted, _, name = path.rpartition("/")
    assert container["volumeMounts"][0]["mountPath"] == mounted
    assert f"create secret generic {secret} --from-file={name}=" in text
