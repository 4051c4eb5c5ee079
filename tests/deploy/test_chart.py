"""The chart: valid for Kubernetes, safe to stop, and in step with the service that it starts."""

import tomllib
from itertools import chain
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python.chart import lint
from helm_python.errors import HelmRenderError, HelmValuesError

from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.metrics import PrometheusObserver
from tests.deploy.chart import CHART, VALUES, Manifest, only, render, rendered

KUBERNETES = ("1.30.0", "1.37.0")
"""Oldest and newest versions whose schemas every manifest must meet."""
CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds of operators, which Kubernetes' own schemas do not describe."""


@pytest.mark.parametrize("name", VALUES)
def test_helm_finds_nothing_wrong(name: str) -> None:
    found = lint(str(CHART), VALUES[name], strict=True)
    assert found["errors"] == []
    assert [m["error"] for m in found["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", VALUES)
def test_every_manifest_meets_the_schemas_of_kubernetes(name: str, version: str) -> None:
    for manifest in rendered(name):
        if manifest["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_would_find_an_unknown_field() -> None:
    broken = only(rendered("default"), "Deployment") | {"specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": "two"},
        {"replica": 2},
        {"autoscaling": {"mode": "cpu"}},
        {"settings": {"redis_url": "redis://in-a-config-map"}},
        {"postgresql": {"enabled": True}},
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises((HelmValuesError, HelmRenderError)):
        render(values)


@pytest.mark.parametrize("name", VALUES)
def test_a_pod_may_finish_what_it_accepted(name: str) -> None:
    """The kubelet's grace covers the wait for endpoints and the whole drain, with time to spare."""
    manifests = rendered(name)
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    wait_s = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    settings = tomllib.loads(only(manifests, "ConfigMap")["data"]["guerdon.toml"])
    assert pod["terminationGracePeriodSeconds"] > wait_s + settings["drain_timeout_s"]


@pytest.mark.parametrize("name", VALUES)
def test_the_service_takes_the_settings_and_flags_that_it_is_given(name: str, tmp_path: Any) -> None:
    manifests = rendered(name)
    config = tmp_path / "guerdon.toml"
    config.write_text(only(manifests, "ConfigMap")["data"]["guerdon.toml"])
    args = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[0] == "serve"
    flags, path = parse_flags([a for a in args[1:] if not a.startswith("--config")])
    assert path is None
    settings = load_settings(flags, {}, config)
    assert (settings.port, settings.grpc_port, settings.host) == (8080, 8081, "0.0.0.0")


@pytest.mark.parametrize("name", VALUES)
def test_pods_are_locked_down(name: str) -> None:
    """No root, no writable root file system, no capability, no token for the cluster's API."""
    for pod, container in containers(rendered(name)):
        context = container["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        if container["name"] != "postgresql":
            assert context["readOnlyRootFilesystem"]


@pytest.mark.parametrize("name", VALUES)
def test_secrets_reach_the_pod_by_reference_alone(name: str) -> None:
    for manifest in rendered(name):
        if manifest["kind"] != "Secret":
            assert "postgresql+psycopg://" not in yaml.safe_dump(manifest)


def test_an_autoscaler_owns_the_number_of_replicas() -> None:
    assert only(rendered("default"), "Deployment")["spec"]["replicas"] == 2
    assert "replicas" not in only(rendered("production"), "Deployment")["spec"]
    scaler = only(rendered("production"), "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == only(rendered("production"), "Deployment")["metadata"]["name"]


def test_scaling_and_alerts_ask_for_metrics_that_the_service_exports() -> None:
    exported = PrometheusObserver().render().decode()
    known = {line.split()[2] for line in exported.splitlines() if line.startswith("# TYPE")}
    hpa = only(rendered("production"), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"][
        "name"
    ]
    (trigger,) = only(rendered("trial"), "ScaledObject")["spec"]["triggers"]
    rules = only(rendered("production"), "PrometheusRule")["spec"]["groups"][0]["rules"]
    asked = metric_names(" ".join([hpa, trigger["metadata"]["query"], *(r["expr"] for r in rules)]))
    assert asked
    assert {name.removesuffix("_bucket") for name in asked} <= known


def test_every_alert_says_what_it_means() -> None:
    for rule in only(rendered("production"), "PrometheusRule")["spec"]["groups"][0]["rules"]:
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_selectors_find_the_pods() -> None:
    labels = only(rendered("production"), "Deployment")["spec"]["template"]["metadata"]["labels"]
    for kind, path in (
        ("Service", ("spec", "selector")),
        ("PodDisruptionBudget", ("spec", "selector", "matchLabels")),
        ("NetworkPolicy", ("spec", "podSelector", "matchLabels")),
    ):
        selector: Any = only(rendered("production"), kind)
        for key in path:
            selector = selector[key]
        assert selector.items() <= labels.items(), kind
    job = only(rendered("production"), "Job", "rel-guerdon-migrate")["spec"]["template"]["metadata"]["labels"]
    service = only(rendered("production"), "Service")["spec"]["selector"]
    assert not service.items() <= job.items(), "the migrations job would get traffic"


def test_a_gpu_is_a_limit_of_the_pod() -> None:
    container = only(rendered("gpu"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "--device=cuda" in container["args"]


def test_each_of_several_gpus_has_an_engine_process() -> None:
    values = VALUES["gpu"] | {"gpu": {"count": 3}}
    container = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 3
    asked = [arg for arg in container["args"] if arg.startswith("--device")]
    assert asked == ["--devices=cuda:0", "--devices=cuda:1", "--devices=cuda:2"]


def containers(manifests: tuple[Manifest, ...]) -> list[tuple[Manifest, Manifest]]:
    """Every pod template's spec with each of its containers."""
    pods = [m["spec"]["template"]["spec"] for m in manifests if "template" in m.get("spec", {})]
    return list(chain.from_iterable([(pod, c) for c in pod["containers"]] for pod in pods))


def metric_names(text: str) -> set[str]:
    """Words of a query that name a metric of ours."""
    words = "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
    return {w for w in words if w.startswith("guerdon_")}
