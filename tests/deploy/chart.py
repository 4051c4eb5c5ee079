"""The chart through Helm's own library."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart

CHART = Path(__file__).parents[2] / "helm" / "guerdon"
VALUES = {"default": {}} | {
    p.stem: yaml.safe_load(p.read_text()) for p in sorted((CHART / "ci").glob("*.yaml"))
}
"""Values files by name."""

Manifest = dict[str, Any]


def render(values: dict[str, Any], name: str = "rel") -> list[Manifest]:
    """Every manifest of a release of that name.

    Raises:
        HelmValuesError: the values do not meet the chart's schema.
    """
    texts = Chart.load(str(CHART)).render(values, name=name)
    sources = [text for path, text in sorted(texts.items()) if path.endswith(".yaml")]
    return [document for text in sources for document in yaml.safe_load_all(text) if document]


@cache
def rendered(name: str) -> tuple[Manifest, ...]:
    """Manifests of one of `VALUES`."""
    return tuple(render(VALUES[name]))


def only(manifests: tuple[Manifest, ...] | list[Manifest], kind: str, name: str = "rel-guerdon") -> Manifest:
    """The one manifest of that kind and name."""
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return found
