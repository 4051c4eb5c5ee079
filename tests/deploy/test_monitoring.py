"""Alerts and dashboard: queries that parse, of metrics and labels that the service exports."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest

from guerdon_service.app.metrics import PrometheusObserver
from tests.deploy.chart import CHART, only, rendered

PLACES = {"namespace", "pod"}
"""Labels that Prometheus adds to what it scrapes."""


def dashboard() -> dict[str, Any]:
    found = only(rendered("production"), "ConfigMap", "rel-guerdon-dashboard")
    board: dict[str, Any] = json.loads(found["data"]["guerdon.json"])
    return board


def alerts() -> dict[str, str]:
    (group,) = only(rendered("production"), "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def panels() -> dict[str, str]:
    """Queries by panel and place, with Grafana's own variables filled in."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    }


def exported() -> dict[str, frozenset[str]]:
    """Labels by series; of a histogram the series that queries name."""
    observer = PrometheusObserver()
    lines = observer.render().decode().splitlines()
    found = {line.split()[2]: frozenset[str]() for line in lines if line.startswith("# TYPE process_")}
    # No public way tells of series that have no sample yet.
    for family, names in observer._registry._collector_to_names.items():
        labels = frozenset(getattr(family, "_labelnames", ()))
        found |= {name: labels | {"le"} if name.endswith("_bucket") else labels for name in names}
    return found


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector below a parsed expression."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
        below = getattr(node, name, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None and not isinstance(child, (str, int, float)):
                yield from selectors(child)


QUERIES = {**alerts(), **panels()}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_parses_and_asks_for_what_the_service_exports(name: str) -> None:
    known = exported()
    asked = list(selectors(promql.parse(QUERIES[name])))
    assert asked, "a query of nothing"
    for selector in asked:
        assert selector.name in known
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= known[selector.name] | PLACES


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_groups_by_labels_that_are_there(name: str) -> None:
    known = exported()
    query = QUERIES[name]
    there = PLACES.union(*(known[s.name] for s in selectors(promql.parse(query))))
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    assert grouped <= there


def test_the_parser_would_find_a_mistake() -> None:
    with pytest.raises(ValueError):
        promql.parse("sum by (pod (rate(guerdon_requests_total[5m]))")


def test_the_dashboard_is_found_by_the_sidecar_and_only_where_it_is_wanted() -> None:
    found = only(rendered("production"), "ConfigMap", "rel-guerdon-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    names = [m["metadata"]["name"] for m in rendered("default")]
    assert "rel-guerdon-dashboard" not in names


def test_the_dashboard_stands_alone() -> None:
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) == len(board["panels"])
    sources = {json.dumps(target["datasource"]) for p in board["panels"] for target in p["targets"]}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}, "a data source of one Grafana alone"
    used = set(re.findall(r"\$(\w+)", " ".join(t["expr"] for p in board["panels"] for t in p["targets"])))
    assert used - {"__rate_interval"} <= {v["name"] for v in board["templating"]["list"]}
    assert (CHART / "dashboards" / "guerdon.json").read_text().strip() in json.dumps(board, indent=1)


def test_every_metric_of_the_service_is_on_the_dashboard() -> None:
    """Whoever adds a metric shows it; gauges of calls and of items say what others say."""
    asked = {s.name for query in QUERIES.values() for s in selectors(promql.parse(query))}
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in exported()}
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked}
    ours = {name for name in families if name.startswith("guerdon_")}
    assert ours - shown <= {"guerdon_queue_items", "guerdon_calls", "guerdon_batch_tokens"}
