import asyncio
import math
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.calibration import Z95, sigmoid
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import (
    DeadlineExceeded,
    GuerdonError,
    InputTooLong,
    InvalidInput,
    NotReady,
    Overloaded,
    TooManyItems,
    UnknownModel,
)
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import CompareQuery, Options, Pair, RankQuery, ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.engine import worker
from tests.fakes import CodePointEncoder, WeightedSumBackend, load_fake, manifest, running_service

PROMPT = (Message("user", "why?"),)
CROWD = (Message("boss", ""),) * 125_000
"""More turns than the prompts of five conversations may have; whoever looks at the first refuses its role."""


def conversation(response: str, prompt: str = "why?") -> Conversation:
    return Conversation.of(prompt, response)


def score_query(*responses: str, **options: object) -> ScoreQuery:
    return ScoreQuery(tuple(conversation(r) for r in responses), Options(**options))  # type: ignore[arg-type]


def rewards(result: ScoreResult) -> list[float]:
    return [s.reward for s in result.scores]


async def test_score_gives_every_head_the_profile_and_its_provenance() -> None:
    async with running_service() as service:
        result = await service.score(score_query("because", profile="both"))
    score = result.scores[0]
    assert set(score.raw) == {"quality", "brevity"}
    assert score.reward == 0.5 * score.attributes["quality"] - 0.1 * score.attributes["brevity"]
    assert score.attributes["brevity"] == len("because")
    assert score.tokens == len("why?because") and not score.truncated and not score.cached
    assert (result.model.name, result.model.digest, result.model.profile) == (
        "fake",
        "digest-of-fake",
        "both",
    )
    assert result.usage.num_items == 1 and result.usage.total_s > 0


async def test_a_second_ask_is_cached_and_bitwise_equal() -> None:
    async with running_service() as service:
        first = await service.score(score_query("one", "two"))
        again = await service.score(score_query("two", "three", "one"))
    assert [s.cached for s in again.scores] == [True, False, True]
    assert again.scores[0].raw == first.scores[1].raw and again.scores[2].raw == first.scores[0].raw


async def test_tenants_do_not_share_cache_hits() -> None:
    async with running_service() as service:
        await service.score(score_query("one", tenant="a"))
        assert not (await service.score(score_query("one", tenant="b"))).scores[0].cached
        assert (await service.score(score_query("one", tenant="a"))).scores[0].cached


async def test_a_new_digest_never_sees_the_old_cache() -> None:
    digests = iter(["before", "after"])

    def load(spec: ModelSpec) -> LoadedModel:
        changed = manifest(spec.name, digest=next(digests))
        return LoadedModel(spec, changed, CodePointEncoder(), WeightedSumBackend())

    async with running_service(load=load) as service:
        await service.score(score_query("one"))
        await service.unload_model("fake")
        await service.load_model(ModelSpec("fake", "good"))
        assert not (await service.score(score_query("one"))).scores[0].cached


async def test_left_truncation_is_reported() -> None:
    async with running_service() as service:
        query = ScoreQuery((conversation("answer", "x" * 100), conversation("answer")))
        long, short = (await service.score(query)).scores
    assert long.truncated and not short.truncated


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=12),
    st.integers(1, 12),
)
def test_rank_equals_score_bitwise_and_sorts_stably(candidates: list[str], top_k: int) -> None:
    async def check() -> None:
        async with running_service() as service:
            ranked = await service.rank(RankQuery(PROMPT, tuple(candidates), top_k))
            singles = await service.score(score_query(*candidates))
        assert len(ranked.results) == min(top_k, len(candidates))
        for candidate in ranked.results:
            assert candidate.score.raw == singles.scores[candidate.index].raw
        order = [(-singles.scores[c.index].reward, c.index) for c in ranked.results]
        assert order == sorted(order)
        assert order == sorted((-s.reward, i) for i, s in enumerate(singles.scores))[:top_k]

    asyncio.run(check())


async def test_compare_is_exactly_antisymmetric() -> None:
    async with running_service() as service:
        pairs = (
            Pair(PROMPT, "good answer", "bad"),
            Pair(PROMPT, "bad", "good answer"),
            Pair(PROMPT, "x", "x"),
        )
        ab, ba, tie = (await service.compare(CompareQuery(pairs))).preferences
    assert ab.p_a + ba.p_a == 1.0
    assert ab.low == 1.0 - ba.high and ab.high == 1.0 - ba.low
    assert ab.low <= ab.p_a <= ab.high
    assert (ab.preferred, ba.preferred, tie.preferred) == ("a", "b", "tie") and tie.p_a == 0.5


async def test_an_ensemble_is_the_mean_less_k_times_the_spread() -> None:
    specs = (
        ModelSpec("one", "good"),
        ModelSpec("two", "double"),
        ModelSpec("both", "", members=("one", "two"), conservatism=2.0),
    )
    async with running_service(*specs) as service:
        one, two, both = [
            (await service.score(score_query("because", model=m))).scores[0] for m in ("one", "two", "both")
        ]
        infos = {i.name: i.state for i in service.models()}
        with pytest.raises(InvalidInput, match="member of both"):
            await service.unload_model("one")
    mean = (one.reward + two.reward) / 2
    assert both.std == pytest.approx(abs(one.reward - two.reward) / 2**0.5)
    assert both.reward == pytest.approx(mean - 2.0 * both.std)
    assert both.raw["one/quality"] == one.raw["quality"] and both.raw["two/quality"] == two.raw["quality"]
    assert infos == {"one": "ready", "two": "ready", "both": "ready"}


@pytest.mark.parametrize("conservatism", [0.0, 2.0])
async def test_an_ensembles_interval_is_of_its_members_margins(conservatism: float) -> None:
    """What the members share about both responses, here all of one and the same response, is no doubt."""
    specs = (
        ModelSpec("one", "good"),
        ModelSpec("two", "double"),
        ModelSpec("both", "", members=("one", "two"), conservatism=conservatism),
    )
    pairs = (Pair(PROMPT, "same", "same"), Pair(PROMPT, "a longer answer", "bad"))
    async with running_service(*specs) as service:
        asked = [CompareQuery(pairs, Options(model=m)) for m in ("one", "two", "both")]
        one, two, both = [(await service.compare(query)).preferences for query in asked]
    assert both[0].a.std > 0
    assert (both[0].low, both[0].p_a, both[0].high) == (0.5, 0.5, 0.5)
    std = abs(one[1].margin - two[1].margin) / 2**0.5
    half = Z95 * math.hypot(both[1].margin * 0.05 / 2**0.5, 0.5 * std)
    assert both[1].high == pytest.approx(sigmoid(0.5 * both[1].margin + half), rel=1e-9)
    assert both[1].low == pytest.approx(sigmoid(0.5 * both[1].margin - half), rel=1e-9)


async def test_several_models_answer_at_once_each_by_its_own_queue() -> None:
    async with running_service(ModelSpec("one", "good"), ModelSpec("two", "double")) as service:
        one, two, default = await asyncio.gather(
            *(service.score(score_query("because", model=m)) for m in ("one", "two", None))
        )
    assert 2 * one.scores[0].raw["quality"] == pytest.approx(two.scores[0].raw["quality"])
    assert default.model.name == "one"


@pytest.mark.parametrize(
    ("query", "error", "param"),
    [
        (ScoreQuery(()), InvalidInput, "items"),
        (score_query(*["a"] * 6), TooManyItems, "items"),
        (score_query("ok", ""), InvalidInput, "items[1].response"),
        (ScoreQuery((conversation("a", ""),)), InvalidInput, "items[0].prompt"),
        (ScoreQuery((Conversation((), "a"),)), InvalidInput, "items[0].prompt"),
        (
            ScoreQuery((Conversation((Message("boss", "do"),), "a"),)),
            InvalidInput,
            "items[0].messages[0].role",
        ),
        (score_query("\ud800"), InvalidInput, "items[0].response"),
        (score_query("y" * 2000), InputTooLong, "items[0].response"),
        (ScoreQuery((conversation("a", "y" * 2000),)), InputTooLong, "items[0].prompt"),
        (score_query("y" * 70), InputTooLong, "items[0].response"),
        (score_query("a", model="ghost"), UnknownModel, "model"),
        (score_query("a", profile="ghost"), InvalidInput, "profile"),
        (score_query("a", deadline_s=-1.0), InvalidInput, "deadline_ms"),
        (score_query("a", deadline_s=float("nan")), InvalidInput, "deadline_ms"),
        (CompareQuery(()), InvalidInput, "pairs"),
        (CompareQuery((Pair(PROMPT, "a", "y" * 70),)), InputTooLong, "pairs[0].b"),
        (CompareQuery((Pair(PROMPT, "", "b"),)), InvalidInput, "pairs[0].a"),
        (RankQuery(PROMPT, ()), InvalidInput, "candidates"),
        (RankQuery(PROMPT, ("a", "")), InvalidInput, "candidates[1]"),
        (RankQuery((), ("a",)), InvalidInput, "prompt"),
        (RankQuery(PROMPT, ("a",), top_k=0), InvalidInput, "top_k"),
        (ScoreQuery((Conversation(CROWD, "a"),) * 5), TooManyItems, "items"),
        (CompareQuery((Pair(CROWD, "a", "b"),) * 3), TooManyItems, "pairs"),
        (RankQuery(CROWD, ("a",) * 5), TooManyItems, "candidates"),
    ],
)
async def test_bad_input_names_its_parameter_and_a_good_request_beside_it_is_answered(
    query: ScoreQuery | CompareQuery | RankQuery, error: type[GuerdonError], param: str
) -> None:
    async with running_service(limits=Limits(max_items=5, max_item_chars=1000)) as service:
        good = asyncio.create_task(service.score(score_query("fine")))
        with pytest.raises(error) as refused:
            if isinstance(query, ScoreQuery):
                await service.score(query)
            elif isinstance(query, CompareQuery):
                await service.compare(query)
            else:
                await service.rank(query)
        assert refused.value.param == param
        assert param in refused.value.message
        assert len((await good).scores) == 1


async def test_a_deadline_that_passes_is_one_clear_error_and_the_work_is_dropped() -> None:
    release = threading.Event()
    backend = WeightedSumBackend(before=lambda: release.wait(30))

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(), CodePointEncoder(), backend)

    async with running_service(load=load) as service:
        blocker = asyncio.create_task(service.score(score_query("first")))
        await asyncio.to_thread(_until, lambda: backend.num_forwards == 1)
        with pytest.raises(DeadlineExceeded) as late:
            await service.score(score_query("second", deadline_s=0.05))
        assert late.value.param == "deadline_ms"
        release.set()
        await blocker
        await service.score(score_query("third"))
    assert backend.num_forwards == 2


async def test_what_there_is_no_room_for_is_refused_before_it_is_tokenized() -> None:
    release, asked = threading.Event(), list[str]()
    backend = WeightedSumBackend(before=lambda: release.wait(30))

    class Noting(CodePointEncoder):
        def encode(self, conversation: Conversation, param: str) -> Encoded:
            asked.append(conversation.response)
            return super().encode(conversation, param)

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(), Noting(), backend)

    async with running_service(load=load, limits=Limits(max_queued_tokens=4)) as service:
        runs = asyncio.create_task(service.score(score_query("first")))
        await asyncio.to_thread(_until, lambda: backend.num_forwards == 1)
        waits = asyncio.create_task(service.score(score_query("second")))  # an empty queue takes any size
        await asyncio.to_thread(_until, lambda: asked == ["first", "second"])
        while not service.catalog.resolve("").ready_scorer().engine.state()["queued_items"]:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await service.score(score_query("third"))
        assert asked == ["first", "second"]
        release.set()
        await asyncio.gather(runs, waits)


async def test_draining_refuses_new_work_and_answers_the_old() -> None:
    release = threading.Event()
    backend = WeightedSumBackend(before=lambda: release.wait(30))

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(), CodePointEncoder(), backend)

    async with running_service(load=load) as service:
        accepted = asyncio.create_task(service.score(score_query("first")))
        await asyncio.to_thread(_until, lambda: backend.num_forwards == 1)
        service.begin_drain()
        assert not service.is_ready() and "draining" in service.unready_reason()
        with pytest.raises(NotReady):
            await service.score(score_query("second"))
        release.set()
        assert len((await accepted).scores) == 1


async def test_a_refused_artifact_keeps_the_service_unready_and_says_why() -> None:
    async with running_service() as service:
        with pytest.raises(InvalidInput):
            await service.load_model(ModelSpec("broken", "bad"))
        assert not service.is_ready() and "source is bad" in service.unready_reason()
        assert service.model("broken").state == "failed"
        with pytest.raises(NotReady, match="source is bad"):
            await service.score(score_query("a", model="broken"))
        await service.load_model(ModelSpec("broken", "good"))  # a failed name can be loaded again
        assert service.is_ready()


async def test_a_back_end_that_keeps_failing_turns_readiness_off() -> None:
    def fail() -> None:
        raise RuntimeError("device lost")

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(), CodePointEncoder(), WeightedSumBackend(before=fail))

    async with running_service(load=load) as service:
        for i in range(5):
            with pytest.raises(GuerdonError) as failed:
                await service.score(score_query(f"answer {i}"))
            assert failed.value.code == "backend_failed" and "device lost" not in failed.value.message
        assert not service.is_ready()


async def test_the_metrics_tell_of_a_back_end_that_dies_or_fails_and_of_one_that_is_well_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "PROBE_S", 0.01)
    raised: list[type[BaseException]] = []
    observer = PrometheusObserver()

    def misbehave() -> None:
        for error in raised[:1]:
            raise error

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(), CodePointEncoder(), WeightedSumBackend(before=misbehave))

    def ready() -> bool:
        return b'guerdon_model_ready{model="fake"} 1.0' in observer.render()

    async def ask(*responses: str) -> list[object]:
        asked = (service.score(score_query(response)) for response in responses)
        return [await asyncio.gather(one, return_exceptions=True) for one in asked]

    async with running_service(load=load, observer=observer) as service:
        assert ready()
        raised.append(RuntimeError)
        await ask(*(f"answer {i}" for i in range(5)))
        assert not ready()
        raised.clear()
        async with asyncio.timeout(30):
            while not ready():  # it tries again by itself
                await asyncio.sleep(0)
        raised.append(SystemExit)
        await ask("the last")
        assert not ready()
        assert b'guerdon_model_ready{model="fake"} 0.0' in observer.render()


async def test_names_are_loaded_once_and_unloaded_models_are_unknown() -> None:
    backends: list[WeightedSumBackend] = []

    def load(spec: ModelSpec) -> LoadedModel:
        loaded = load_fake(spec)
        assert isinstance(loaded.backend, WeightedSumBackend)
        backends.append(loaded.backend)
        return loaded

    async with running_service(load=load) as service:
        with pytest.raises(InvalidInput, match="loaded already"):
            await service.load_model(ModelSpec("fake", "good"))
        await service.unload_model("fake")
        with pytest.raises(UnknownModel):
            await service.score(score_query("a"))
    assert [b.closed for b in backends] == [True]


async def test_usage_counts_tokens_and_orders_are_kept_over_many_chunks() -> None:
    responses = [f"answer {i}" for i in range(200)]
    async with running_service() as service:
        result = await service.score(score_query(*responses))
        singles = [(await service.score(score_query(r))).scores[0] for r in responses[:20]]
    assert rewards(result)[:20] == [s.reward for s in singles]
    assert result.usage.num_tokens == sum(s.tokens for s in result.scores)
    assert all(a.tokens <= b.tokens for a, b in pairwise(result.scores[:9]))


def _until(condition: object) -> None:
    pause = threading.Event()
    while not condition():  # type: ignore[operator]
        pause.wait(0.001)
