"""What values make of a pod: its folders, its place, its environment, who may reach it, its probes."""

from pathlib import Path
from typing import Any

import pytest
from helm_python.chart import Chart
from sqlalchemy.engine import make_url

from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from tests.deploy.chart import CHART, VALUES, Manifest, only, render, rendered

KEYLESS = {"secrets": VALUES["trial"]["secrets"], "serviceMonitor": {"enabled": True}}
"""Keys, and a Prometheus that has none."""


def pod(values: dict[str, Any]) -> Manifest:
    """The service's pod."""
    spec: Manifest = only(render(values), "Deployment")["spec"]["template"]["spec"]
    return spec


def mounted(values: dict[str, Any], path: str) -> tuple[Manifest, bool]:
    """What a folder of the pod is made of, and whether the service may write to it."""
    spec = pod(values)
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == path]
    (volume,) = [v for v in spec["volumes"] if v["name"] == mount["name"]]
    source = {kind: what for kind, what in volume.items() if kind != "name"}
    is_claim_read_only = source.get("persistentVolumeClaim", {}).get("readOnly", False)
    assert is_claim_read_only == mount.get("readOnly", False)
    return source, not is_claim_read_only


def test_the_migrations_job_runs_where_the_service_does() -> None:
    place = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    }
    job = only(render(place), "Job", "rel-guerdon-migrate")["spec"]["template"]["spec"]
    for spec in (pod(place), job):
        assert {key: spec[key] for key in place} == place
    assert not place.keys() & pod({}).keys()


@pytest.mark.parametrize("password", ["p@ss/w:rd +%41?#[]&=", "\"'\\ \u00e9", "0"])
def test_the_url_has_the_password_of_the_embedded_database(password: str) -> None:
    manifests = render({"postgresql": {"enabled": True, "password": password}})
    assert only(manifests, "Secret", "rel-postgresql")["stringData"]["password"] == password
    url = make_url(only(manifests, "Secret")["stringData"]["state-url"])
    assert (url.password, url.host, url.database) == (password, "rel-postgresql", "guerdon")


def test_variables_are_those_of_the_service_and_of_the_migrations_job() -> None:
    more = [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}]
    whole = [{"secretRef": {"name": "keys"}}]
    manifests = render({"extraEnv": more, "extraEnvFrom": whole})
    service = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    job = only(manifests, "Job", "rel-guerdon-migrate")["spec"]["template"]["spec"]["containers"][0]
    for container in (service, job):
        names = [variable["name"] for variable in container["env"]]
        assert names == ["GUERDON_REDIS_URL", "GUERDON_STATE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert container["envFrom"] == whole
    assert "envFrom" not in pod({})["containers"][0]


def test_a_key_of_a_judge_comes_from_a_secret(tmp_path: Path) -> None:
    """The file has the judge, a variable its key."""
    (tmp_path / "guerdon.toml").write_text(
        only(render(VALUES["production"]), "ConfigMap")["data"]["guerdon.toml"]
    )
    names = [variable["name"] for variable in pod(VALUES["production"])["containers"][0]["env"]]
    given = {name: "secret" for name in names if name.endswith("__API_KEY")}
    settings = load_settings({}, given, tmp_path / "guerdon.toml")
    assert {name: j.api_key.get_secret_value() for name, j in settings.judges.items()} == {"strict": "secret"}
    assert settings.otel


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({}, {"emptyDir": {}}),
        ({"data": {"existingClaim": "sets"}}, {"persistentVolumeClaim": {"claimName": "sets"}}),
    ],
)
def test_data_sets_have_a_folder_that_the_service_may_write_to(
    values: dict[str, Any], source: Manifest
) -> None:
    flags, _ = parse_flags([a for a in pod(values)["containers"][0]["args"][1:] if "config" not in a])
    assert load_settings(flags, {}, None).data_folder == Path("/data")
    assert mounted(values, "/data") == (source, True)


@pytest.mark.parametrize("read_only", [None, True, False])
def test_artifacts_are_read_only_unless_fetched_ones_are_kept_there(read_only: bool | None) -> None:
    models = {"existingClaim": "artifacts"} | ({} if read_only is None else {"readOnly": read_only})
    source, is_writable = mounted({"models": models}, "/models")
    assert source["persistentVolumeClaim"]["claimName"] == "artifacts"
    assert is_writable is (read_only is False)


def test_the_model_store_of_production_can_be_written_to() -> None:
    assert mounted(VALUES["production"], VALUES["production"]["settings"]["model_store"])[1]


@pytest.mark.parametrize("name", ["production", "secure"])
def test_prometheus_may_scrape_from_its_namespace_and_do_nothing_else(name: str) -> None:
    scrapers = VALUES[name]["serviceMonitor"]["from"]
    rules = only(render(VALUES[name]), "NetworkPolicy")["spec"]["ingress"]
    assert [rule["ports"] for rule in rules if rule["from"] == scrapers] == [[{"port": "http"}]]
    without = VALUES[name] | {"serviceMonitor": {"from": scrapers}}  # it is off
    rules = only(render(without), "NetworkPolicy")["spec"]["ingress"]
    assert scrapers not in [rule["from"] for rule in rules]


@pytest.mark.parametrize("name", ["production", "secure"])
def test_prometheus_scrapes_with_a_key_where_there_are_keys(name: str) -> None:
    (endpoint,) = only(rendered(name), "ServiceMonitor")["spec"]["endpoints"]
    assert set(endpoint["authorization"]["credentials"]) == {"name", "key"}
    for values, is_told in ((VALUES[name], False), (KEYLESS, True)):
        notes = Chart.load(str(CHART)).render(values, name="rel")["guerdon/templates/NOTES.txt"]
        assert ("Its metrics need a key" in notes) == is_told


@pytest.mark.parametrize("name", VALUES)
def test_only_readiness_waits_for_models(name: str) -> None:
    """Whatever kills a pod asks what answers while models load, as `tests/app/test_readiness.py` holds."""
    container = pod(VALUES[name])["containers"][0]
    asked = {kind: str(container[f"{kind}Probe"]) for kind in ("startup", "liveness", "readiness")}
    waiting = {kind for kind, probe in asked.items() if "/health/ready" in probe}
    assert waiting == {"readiness"}
    assert all("/health/live" in asked[kind] for kind in asked.keys() - waiting)
