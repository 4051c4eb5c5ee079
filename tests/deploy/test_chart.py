"""The chart: valid for Kubernetes, safe to stop, and in step with the service that it starts."""

import asyncio
import json
import sys
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
from tests.security.doors import opened
from tests.tls import Party

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
        {"settings": {"data_folder": "/elsewhere"}},
        {"settings": {"policies": {"far": {"url": "https://far/v1", "api_key": "-"}}}},
        {"settings": {"judges": {"strict": {"url": "https://far/v1", "api_key": "-"}}}},
        {"postgresql": {"enabled": True}},
        {"secrets": {"existingSecret": "theirs"}, "redis": {"enabled": True}},
        {"secrets": {"existingSecret": "theirs"}, "postgresql": VALUES["trial"]["postgresql"]},
        {"tls": {"mutual": True}},
        {"admin": {"httpPort": 0}},
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


def test_services_that_kubernetes_tells_pods_of_are_no_settings() -> None:
    """Of a release that is named as the documentation names it: they begin as the settings do."""
    embedded = {
        "admin": {"enabled": True},
        "redis": {"enabled": True},
        "postgresql": VALUES["trial"]["postgresql"],
    }
    manifests = render(embedded, "guerdon")
    for pod, container in containers(manifests):
        assert container["name"] in ("redis", "postgresql") or pod["enableServiceLinks"] is False
    links = {k: v for m in manifests if m["kind"] == "Service" for k, v in service_links(m).items()}
    assert links["GUERDON_PORT"] == links["GUERDON_PORT_8080_TCP"] == "tcp://10.0.0.1:8080"
    assert {"GUERDON_ADMIN_PORT", "GUERDON_REDIS_SERVICE_HOST", "GUERDON_SERVICE_PORT_GRPC"} <= links.keys()
    assert load_settings({}, links, None) == load_settings({}, {}, None)


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


def test_every_value_is_described() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    free = {"settings", "redis", "postgresql"}  # the service's own settings, and subcharts' own values
    for name, value in yaml.safe_load((CHART / "values.yaml").read_text("utf-8")).items():
        described = schema["properties"][name]
        if isinstance(value, dict) and "properties" in described and name not in free:
            assert value.keys() <= described["properties"].keys(), name
            assert described.get("additionalProperties") is False, name
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", VALUES)
def test_every_mount_has_a_volume_and_every_port_a_name(name: str) -> None:
    for pod, container in containers(rendered(name)):
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        claimed = {"data"} if container["name"] == "postgresql" else set()  # by its own template of a claim
        assert mounted - claimed <= {volume["name"] for volume in pod.get("volumes", ())}
    pod = only(rendered(name), "Deployment")["spec"]["template"]["spec"]
    named = {port["name"] for port in pod["containers"][0]["ports"]}
    services = [m for m in rendered(name) if m["kind"] == "Service" and "guerdon" in m["metadata"]["name"]]
    assert {port["targetPort"] for service in services for port in service["spec"]["ports"]} == named


def test_administrators_ports_are_reached_by_those_named_alone() -> None:
    admin = {"admin-http", "admin-grpc"}
    main = only(rendered("secure"), "Service")["spec"]["ports"]
    assert not admin & {port["targetPort"] for port in main}
    own = only(rendered("secure"), "Service", "rel-guerdon-admin")["spec"]["ports"]
    assert {port["targetPort"] for port in own} == admin
    for values, peers in (
        (VALUES["secure"], VALUES["secure"]["admin"]["from"]),
        ({"admin": {"enabled": True}}, None),
    ):
        rules = only(render(values), "NetworkPolicy")["spec"]["ingress"]
        found = [rule.get("from") for rule in rules if admin & {port["port"] for port in rule["ports"]}]
        assert found == ([peers] if peers else [])
    assert not admin & {port["targetPort"] for port in only(rendered("default"), "Service")["spec"]["ports"]}


def test_replicas_spread_over_zones_and_machines() -> None:
    spread = only(rendered("default"), "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {s["topologyKey"].rpartition("/")[2] for s in spread} == {"zone", "hostname"}


def test_migrations_run_before_an_upgrade_and_with_the_same_database() -> None:
    job = only(rendered("production"), "Job", "rel-guerdon-migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    served = only(rendered("production"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert (container["args"], container["image"]) == (["migrate"], served["image"])
    assert container["env"] == served["env"]
    assert not [m for m in render({"migrations": {"enabled": False}}) if m["kind"] == "Job"]


def probes(values: dict[str, Any]) -> list[Manifest]:
    container = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]


def test_probes_speak_what_the_port_speaks() -> None:
    assert all("scheme" not in probe["httpGet"] for probe in probes({}))
    assert all(p["httpGet"]["scheme"] == "HTTPS" for p in probes({"tls": {"existingSecret": "a"}}))
    assert all("httpGet" not in probe for probe in probes(VALUES["secure"]))


async def test_the_probe_of_mutual_tls_is_answered(tmp_path: Any) -> None:
    """The command of the manifest, against a service that wants certificates."""
    server, own = Party(tmp_path / "server", "localhost"), Party(tmp_path / "own", "probe")
    (tmp_path / "ca.crt").write_bytes(server.ca.read_bytes())
    (tmp_path / "probe.crt").write_bytes(own.certificate.read_bytes())
    (tmp_path / "probe.key").write_bytes(own.key.read_bytes())
    command = probes(VALUES["secure"])[1]["exec"]["command"]
    for trusted, status in ((own.ca, 0), (server.ca, 1)):
        own_files = {"tls_certificate": server.certificate, "tls_key": server.key}
        async with opened(host="127.0.0.1", **own_files, tls_client_ca=trusted) as at:  # type: ignore[arg-type]
            script = command[2].replace("/etc/guerdon-tls", str(tmp_path)).replace(":8080", f":{at.port}")
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, stderr=asyncio.subprocess.DEVNULL
            )
            assert await child.wait() == status


def service_links(service: Manifest) -> dict[str, str]:
    """Variables that Kubernetes gives every pod of the namespace that does not refuse them."""
    name = service["metadata"]["name"].upper().replace("-", "_")
    first, *_ = ports = service["spec"]["ports"]
    links = {
        f"{name}_SERVICE_HOST": "10.0.0.1",
        f"{name}_SERVICE_PORT": f"{first['port']}",
        f"{name}_PORT": f"tcp://10.0.0.1:{first['port']}",
    }
    for port in ports:
        one, number = f"{name}_PORT_{port['port']}_TCP", f"{port['port']}"
        links |= {f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}": number}
        links |= {one: f"tcp://10.0.0.1:{number}", f"{one}_PROTO": "tcp"}
        links |= {f"{one}_PORT": number, f"{one}_ADDR": "10.0.0.1"}
    return links


def containers(manifests: tuple[Manifest, ...] | list[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Every pod template's spec with each of its containers."""
    pods = [m["spec"]["template"]["spec"] for m in manifests if "template" in m.get("spec", {})]
    return list(chain.from_iterable([(pod, c) for c in pod["containers"]] for pod in pods))


def metric_names(text: str) -> set[str]:
    """Words of a query that name a metric of ours."""
    words = "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
    return {w for w in words if w.startswith("guerdon_")}
