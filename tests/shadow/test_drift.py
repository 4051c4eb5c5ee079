"""Drift: quiet on what stays, loud on what moved, bounded in memory."""

import numpy as np

from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.query import ScoreQuery
from guerdon_service.shadow.drift import STRIDE, WINDOW, DriftFigures, DriftWatch
from guerdon_service.shadow.plan import ShadowPlan
from guerdon_service.shadow.trial import Trial
from tests.shadow.trio import trio


def looks(*samples: np.ndarray) -> list[DriftFigures]:
    watch = DriftWatch()
    found = [watch.observe(chunk.tolist()) for sample in samples for chunk in np.array_split(sample, 20)]
    assert len(watch.reference) <= WINDOW
    assert len(watch.current) <= WINDOW
    return [f for f in found if f is not None]


def test_what_stays_is_stable_and_what_moved_shows() -> None:
    random = np.random.default_rng(3)
    before = random.normal(size=2 * WINDOW)
    same = looks(before, random.normal(size=WINDOW))
    moved = looks(before, random.normal(0.8, size=2 * WINDOW))
    assert len(same) >= WINDOW // STRIDE
    assert max(f.psi for f in same) < 0.1
    assert max(f.ks for f in same) < 0.1
    assert moved[-1].psi > 0.25
    assert moved[-1].ks > 0.25


def test_there_is_no_figure_before_both_windows_are_full() -> None:
    assert looks(np.zeros(2 * WINDOW - 1)) == []
    assert len(looks(np.zeros(2 * WINDOW))) == 1


async def test_every_answer_is_watched_under_its_version() -> None:
    async with trio(ShadowPlan()) as t:
        for part in range(4):
            items = [Conversation.of("P", f"{part} {i}") for i in range(WINDOW // 2)]
            await t.scorer.score(ScoreQuery(tuple(items)))
        assert {(model, measure) for model, measure, _ in t.recorded.looks} == {
            ("fake@1", "reward"),
            ("fake@1", "tokens"),
        }


def test_metrics_tell_of_trials_and_drift() -> None:
    observer = PrometheusObserver()
    observer.trial(Trial("m", "1", "2").judged(1.0, -1.0))
    observer.drift("m@1", "reward", DriftFigures(0.3, 0.1))
    text = observer.render().decode()
    assert 'guerdon_trial{candidate="2",figure="judgements",model="m"} 1.0' in text
    assert 'guerdon_drift{measure="reward",model="m@1",statistic="psi"} 0.3' in text
