"""Our lean series say, to both kinds of readers, what the library's own would say of the same events."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from guerdon_service.app.series import Count, Distribution

BOUNDS = (0.25, 0.5, 1, 10)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([("a", "x"), ("b", "x"), ("b", 'y"\n\\')]),
        st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0, 7.0, 10.0, 11.0]) | st.floats(0, 1e6),
        st.sampled_from(["", "a" * 32, "b" * 32]),
    ),
    max_size=20,
)


def timeless(text: bytes) -> list[str]:
    """Without what depends on the clock: values of ``_created``, and times of exemplars."""
    lines = text.decode().splitlines()
    lines = [re.sub(r"(_created\{.*\}) .*", r"\1", line) for line in lines]
    return [re.sub(r"(# \{.*\} \S+) .*", r"\1", line) for line in lines]


@pytest.mark.parametrize("write", [generate_latest, generate_openmetrics])
@given(EVENTS)
def test_they_are_the_librarys(write: object, events: list[tuple[tuple[str, str], float, str]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    names = ("one", "two")
    count, spread = Count("c", "C", names, ours), Distribution("h", "H", names, BOUNDS, ours)
    counter = Counter("c", "C", names, registry=theirs)
    histogram = Histogram("h", "H", names, buckets=BOUNDS, registry=theirs)
    for labels, value, trace in events:
        exemplar = {"trace_id": trace} if trace else None
        count.add(labels, value, trace)
        counter.labels(*labels).inc(value, exemplar)
        spread.observe(labels, value, trace)
        histogram.labels(*labels).observe(value, exemplar)
    assert callable(write)
    assert sorted(timeless(write(ours))) == sorted(timeless(write(theirs)))
