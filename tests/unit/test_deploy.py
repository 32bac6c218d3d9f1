"""What lies in deploy/ fits the service that it deploys."""

import json
import re
from pathlib import Path

import yaml

from service.api.metrics import Metrics
from service.api.openapi import openapi
from service.settings import Settings, variable_of

ROOT = Path(__file__).parents[2]


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
    known = set(re.findall(r"^(quincunx_\w+)", metrics.expose().decode(), re.MULTILINE))
    asked = set[str]()
    for file in ("grafana/quincunx.json", "prometheus/prometheus-adapter.yaml"):
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
