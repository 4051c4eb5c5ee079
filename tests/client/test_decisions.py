"""Best-of-n, evaluations, the registry and feedback through the client, over both wires."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import guerdon
from guerdon import AsyncClient, Candidate, Client, Evaluation, MockTransport, reward_handler
from guerdon.transport import Payload, Verb
from guerdon.transport.sse import events
from guerdon_service.core.errors import BackendFailed, NotReady
from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.client.conftest import FakeClock
from tests.client.stub import stub_reward
from tests.contract.harness import ADMIN_KEY, KEYS, RIVAL_KEY, SCORER_KEY, Served, served
from tests.domain_fakes import EchoBestOfN, StepEvaluator
from tests.fakes import running_service

WIRES = ["rest", "grpc"]


def url_of(at: Served, wire: str) -> str:
    return f"http://127.0.0.1:{at.port}" if wire == "rest" else f"grpc://127.0.0.1:{at.grpc_port}"


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Served]:
    async with served() as it:
        yield it


@pytest.fixture(params=WIRES)
def url(request: pytest.FixtureRequest, running: Served) -> str:
    return url_of(running, request.param)


async def test_best_of_n_is_equal_over_both_wires_streamed_or_not(running: Served) -> None:
    found: list[Any] = []
    told: list[Candidate] = []
    for wire in WIRES:
        async with AsyncClient(url_of(running, wire)) as client:
            for tell in (None, told.append):
                result = await client.best_of_n("echo", "p", 3, seed=1, on_candidate=tell)
                scores = [(c.index, c.response, c.score.reward, c.duplicate_of) for c in result.candidates]
                found.append((result.policy, result.model, result.best, scores, result.kl_upper_bound))
    assert found == found[:1] * 4
    assert [c.index for c in told] == [0, 1, 2] * 2
    assert found[0][2] == 1 and result.chosen == result.candidates[1]
    async with AsyncClient(url_of(running, "rest")) as client:
        alone = await client.score([("p", c.response) for c in result.candidates])
    assert [s.reward for s in alone.scores] == [c.score.reward for c in result.candidates]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_that_fails_late_is_told_and_not_retried(wire: str) -> None:
    async with running_service() as scorer:
        fake = EchoBestOfN(scorer, fail_after=2)
        async with served(best_of_n=fake) as it, AsyncClient(url_of(it, wire)) as client:
            told: list[int] = []
            with pytest.raises(guerdon.NotReady):
                await client.best_of_n("echo", "p", 3, on_candidate=lambda c: told.append(c.index))
    assert told == [0, 1]
    assert fake.num_closed == 1


@pytest.mark.parametrize("wire", WIRES)
async def test_a_failure_of_ours_ends_the_stream_without_its_details(wire: str) -> None:
    async with running_service() as scorer:
        for error, expected in ((KeyError("secret"), "internal"), (BackendFailed("x"), "backend_failed")):
            fake = EchoBestOfN(scorer, 1, error)
            async with served(best_of_n=fake) as it, AsyncClient(url_of(it, wire)) as client:
                with pytest.raises(guerdon.GuerdonError) as raised:
                    await client.best_of_n("echo", "p", 3, on_candidate=lambda c: None)
            assert raised.value.code == expected
            assert "secret" not in str(raised.value)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_evaluation_to_its_end(wire: str) -> None:
    gate, states = asyncio.Semaphore(0), []

    def go_on(state: Evaluation) -> None:
        states.append(state)
        gate.release()

    async with served(evaluator=StepEvaluator(gate)) as it, AsyncClient(url_of(it, wire)) as client:
        done = await client.evaluate("m", "d.jsonl", baseline="n", margin=0.1, on_progress=go_on)
        assert [(s.state, s.done) for s in states] == [
            ("queued", 0),
            ("running", 1),
            ("running", 2),
            ("done", 3),
        ]
        assert states[-1] == done == await client.evaluation(done.id)
        (listed,) = await client.evaluations()
        assert listed == replace(done, report=None)
    assert (done.verdict, done.accuracy, done.baseline) == (
        "better",
        guerdon.Interval(0.75, 0.5, 0.875),
        "n@1",
    )
    assert (done.num_items, done.delta) == (3, guerdon.Interval(0.1, 0.01, 0.2))
    assert (states[0].num_items, states[0].verdict) == (None, None)
    assert done.report is not None and done.report["comparison"]["verdict"] == "better"
    assert (done.error, states[0].report, states[0].accuracy) == (None, None, None)


async def test_both_wires_give_equal_evaluations(running: Served) -> None:
    async with AsyncClient(url_of(running, "rest")) as rest, AsyncClient(url_of(running, "grpc")) as rpc:
        started = await rest.evaluate("m", "d.jsonl", wait=False)
        assert started == await rpc.evaluation(started.id)
        done = await rpc.follow_evaluation(started.id)
        assert done == await rest.evaluation(done.id)
        for client in (rest, rpc):
            assert "<title>report" in await client.evaluation_report(done.id)
            assert await client.evaluation_report(done.id, "markdown") == "### report"
        assert await rest.evaluations() == await rpc.evaluations() == (replace(done, report=None),)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_evaluation_is_cancelled(wire: str) -> None:
    fake = StepEvaluator(asyncio.Semaphore(0))
    async with served(evaluator=fake) as it, AsyncClient(url_of(it, wire)) as client:
        started = await client.evaluate("m", "d.jsonl", wait=False)
        assert (await client.cancel_evaluation(started.id)).state == "cancelled"
        assert (await client.follow_evaluation(started.id)).has_ended
        with pytest.raises(guerdon.UnknownEvaluation):
            await client.cancel_evaluation("nobody")
        with pytest.raises(guerdon.UnknownEvaluation):
            await client.follow_evaluation("nobody")


class Flaky(StepEvaluator):
    """Breaks off once after each item."""

    async def follow(self, evaluation_id: str) -> AsyncGenerator[Any]:
        seen = self.kept[evaluation_id].done
        async for state in super().follow(evaluation_id):
            yield state
            if seen < state.done < 3:
                raise NotReady("the service stopped first; ask another replica", retry_after_ms=1)


@pytest.mark.parametrize("wire", WIRES)
async def test_following_outlives_a_service_that_stops(wire: str, fake: FakeClock) -> None:
    gate, told = asyncio.Semaphore(0), []

    def go_on(state: Evaluation) -> None:
        told.append(state.done)
        gate.release()

    async with served(evaluator=Flaky(gate)) as it, AsyncClient(url_of(it, wire), clock=fake.clock) as client:
        done = await client.evaluate("m", "d.jsonl", on_progress=go_on)
    assert (done.state, len(fake.slept), told) == ("done", 2, [0, 1, 2, 3])


async def test_the_registry(url: str) -> None:
    async with AsyncClient(url) as client:
        first = await client.register("m", "folder/one")
        second = await client.register("m", "folder/two")
        assert (first.version, second.version, first.registered_by) == ("1", "2", "anonymous")
        assert first.parents == {"data": ["x"]}
        with pytest.raises(guerdon.GateRefused) as refused:
            await client.promote("m", "2")
        assert refused.value.param == "evaluation_id"
        change = await client.promote("m", "2", evaluation_id="e1")
        assert (change.action, change.previous, change.version) == ("promote", "1", "2")
        assert [(c.name, c.passed) for c in change.checks] == [("evidence", True), ("latency", None)]
        with pytest.raises(guerdon.InvalidInput, match="reason is empty; write why"):
            await client.rollback("m", " ")
        back = await client.rollback("m", "worse in production")
        assert (back.action, back.version, back.reason) == ("rollback", "1", "worse in production")
        forced = await client.promote("m", "2", override_reason="the only one that fits")
        assert (forced.action, forced.evaluation_id) == ("override", None)
        history = await client.history("m")
    assert history.versions == (first, second)
    assert history.aliases == {"champion": "2"}
    assert [c.action for c in history.changes] == ["register", "promote", "rollback", "override"]
    assert history.changes[0].previous is None


@pytest.mark.parametrize("wire", WIRES)
async def test_who_did_it_is_written_down(wire: str) -> None:
    async with served(keys=KEYS) as it:
        async with AsyncClient(url_of(it, wire), api_key=ADMIN_KEY) as admin:
            assert (await admin.register("m", "s")).registered_by == "ops"
            with pytest.raises(guerdon.PermissionDenied):
                await admin.feedback("p", "a", "b")
        async with AsyncClient(url_of(it, wire), api_key=SCORER_KEY) as team:
            with pytest.raises(guerdon.PermissionDenied):
                await team.register("m", "s")
            kept = await team.feedback("p", "a", "b", annotator="ann", tags={"k": "v"}, shown=["b", "a"])
        (stored,) = it.services.feedback._store.read()  # type: ignore[attr-defined]
    assert (stored.id, stored.tenant, stored.annotator, stored.shown) == (kept, "team", "ann", ("b", "a"))
    assert stored.tags == {"k": "v"} and stored.at > 0


async def test_policies_are_named(url: str) -> None:
    async with AsyncClient(url) as client:
        assert await client.policies() == ("echo", "smollm2")


RECORDS: list[dict[str, Any]] = [
    {
        "prompt": "p",
        "chosen": "a",
        "rejected": "\u00fc \0",
        "votes": [3, 1],
        "who": {"z": None},
    },
    {"prompt": "q", "chosen": "b", "rejected": "c"},
]


async def test_the_same_records_are_the_same_data_set_over_both_wires(tmp_path: Path) -> None:
    database = open_database("sqlite://")
    async with running_service() as scoring:
        evaluator = EvaluationService(scoring, SqlEvaluationStore(database), tmp_path)
        async with served(evaluator=evaluator) as it:
            kept = []
            for wire in WIRES:
                async with AsyncClient(url_of(it, wire)) as client:
                    kept.append(await client.add_dataset("mine.jsonl", RECORDS))
                    other = dict(RECORDS[0], chosen="z")
                    for name, records, param in (
                        ("mine.jsonl", [other], "name"),
                        ("../mine.jsonl", RECORDS, "name"),
                        ("new.jsonl", [], "records"),
                        ("new.jsonl", [RECORDS[0], {"prompt": "p"}], "records[1]"),
                    ):
                        with pytest.raises(guerdon.InvalidInput) as refused:
                            await client.add_dataset(name, records)
                        assert refused.value.param == param
    database.close()
    content = (tmp_path / "mine.jsonl").read_bytes()
    assert kept == [guerdon.Dataset("mine.jsonl", hashlib.sha256(content).hexdigest(), 2)] * 2
    assert [json.loads(line) for line in content.splitlines()] == RECORDS


async def test_records_that_json_cannot_say_are_refused_before_they_are_sent(url: str) -> None:
    wrong: list[Any] = ["text", {"weight": float("nan")}, {"prompt": "\ud800"}, {"prompt": object()}]
    async with AsyncClient(url) as client:
        for record in wrong:
            with pytest.raises(guerdon.InvalidInput) as refused:
                await client.add_dataset("d.jsonl", [RECORDS[0], record])
            assert refused.value.param == "records[1]"


async def test_adding_a_data_set_is_logged_alike_and_without_the_data() -> None:
    async with served(keys=KEYS) as it:
        for wire in WIRES:
            async with AsyncClient(url_of(it, wire), api_key=SCORER_KEY) as team:
                with pytest.raises(guerdon.PermissionDenied):
                    await team.add_dataset("d.jsonl", RECORDS)
            async with AsyncClient(url_of(it, wire), api_key=ADMIN_KEY) as admin:
                await admin.add_dataset("d.jsonl", RECORDS)
        acts = [recorded.act for recorded in await it.services.audit.acts(10)]
    told = [(act.by, act.act, act.outcome, dict(act.detail)) for act in acts]
    detail = {"name": "d.jsonl", "num_records": "2"}
    assert told[::2] == [("ops", "add_dataset", "ok", detail)] * 2
    assert [who[:3] for who in told[1::2]] == [("team", "add_dataset", "permission_denied")] * 2


async def test_agreement_is_the_callers_own_and_an_admins_of_all_over_both_wires() -> None:
    async with served(keys=KEYS) as it:
        for wire in WIRES:
            async with AsyncClient(url_of(it, wire), api_key=SCORER_KEY) as team:
                if wire == WIRES[0]:
                    assert await team.agreement() == guerdon.Agreement(0, None, {}, {})
                for annotator in ("ann", "ben"):
                    await team.feedback(f"one, {wire}", "a", "b", annotator=annotator)
        async with AsyncClient(url_of(it, "rest"), api_key=RIVAL_KEY) as rival:
            await rival.feedback("one, rest", "b", "a", annotator="cem")
        found = []
        for wire in WIRES:
            async with AsyncClient(url_of(it, wire), api_key=SCORER_KEY) as team:
                own = await team.agreement()
            async with AsyncClient(url_of(it, wire), api_key=ADMIN_KEY) as admin:
                found.append((own, await admin.agreement()))
    assert found[0] == found[1]
    own, everyone = found[0]
    assert (own.num_questions, own.num_judgements) == (2, {"ann": 2, "ben": 2})
    assert everyone.num_judgements == {"ann": 2, "ben": 2, "cem": 1}
    assert everyone.alpha is not None and everyone.alpha.value < 1


async def test_a_model_card_is_the_same_over_both_wires(running: Served) -> None:
    cards = []
    for wire in WIRES:
        async with AsyncClient(url_of(running, wire)) as client:
            await client.register("m", f"folder/{wire}")
            cards.append(await client.model_card("m", "1"))
            for name, version in (("m", "9"), ("nobody", "1")):
                with pytest.raises(guerdon.UnknownModel):
                    await client.model_card(name, version)
    assert cards == ["# m 1\n\nOnly \u00fcseful **in tests**.\n"] * 2


async def test_the_sync_client_has_it_all(url: str) -> None:
    def use() -> tuple[str, str, list[int]]:
        with Client(url) as client:
            assert client.policies() == ("echo", "smollm2")
            assert client.add_dataset("d.jsonl", RECORDS).num_items == 2
            assert client.agreement().num_questions == 0
            told: list[int] = []
            client.best_of_n("echo", "p", 2, on_candidate=lambda c: told.append(c.index))
            done = client.evaluate("m", "d.jsonl")
            version = client.register("m", "s").version
            assert client.model_card("m", version).startswith("# m 1")
            return version, done.state, told

    assert await asyncio.to_thread(use) == ("1", "done", [0, 1])


async def test_the_service_is_asked_for_less_than_the_client_waits(fake: FakeClock) -> None:
    asked: list[Payload] = []

    def handle(verb: Verb, payload: Payload) -> Payload:
        asked.append(payload)
        raise guerdon.InvalidInput("seen")

    async with AsyncClient(MockTransport(handle), clock=fake.clock) as client:
        with pytest.raises(guerdon.InvalidInput):
            await client.best_of_n("echo", "p", 3, deadline_s=10)
    assert asked == [{"policy": "echo", "prompt": "p", "n": 3, "deadline_ms": 9000}]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_events_are_read_as_the_standard_says(size: int) -> None:
    """And a text may hold what Unicode takes for the end of a line."""
    told = ': a comment\nevent: a\ndata: [1,\ndata: 2]\n\n\ndata:{"b":3}\r\n\r\n'
    data = f'{told}data: "\x85\u2028\x7f"\n\ndata: 4'.encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    found = [event async for event in events(chunks())]
    assert found == [("a", [1, 2]), ("message", {"b": 3}), ("message", "\x85\u2028\x7f")]


async def test_a_response_with_any_line_separator_arrives_over_both_wires() -> None:
    text = "a\u2028b\x85c\u2029d\x0be\x1cf\r\ng"
    async with running_service() as scorer, served(best_of_n=EchoBestOfN(scorer, text=text)) as at:
        for wire in WIRES:
            async with AsyncClient(url_of(at, wire)) as client:
                told: list[Candidate] = []
                found = await client.best_of_n("echo", "p", 1, on_candidate=told.append)
                assert [c.response for c in [*found.candidates, *told]] == [text] * 2


async def test_parts_of_a_newer_service_are_passed_over() -> None:
    answer = reward_handler(stub_reward)
    (score,) = answer("score", {"items": [{"prompt": "p", "response": "r"}]})["scores"]
    candidate = {"index": 0, "response": "r", "finish_reason": "stop", "score": score}
    result = {"policy": "p", "model": answer("models", {})["models"][0] | {"profile": "default"}}
    result |= {"best": 0, "candidates": [candidate], "total_ms": 1.0, "request_id": "r"}
    result |= dict.fromkeys(("abstained", "partial", "stopped_early"), False)
    result |= dict.fromkeys(("kl_upper_bound", "expected_win_rate"), 0.5)

    class Newer(MockTransport):
        async def stream(
            self, verb: Verb, payload: Payload, timeout_s: float | None
        ) -> AsyncGenerator[Payload]:
            parts: list[Payload] = [
                {"news": {}},
                {},
                {"candidate": candidate},
                {"result": result},
                {"more": 1},
            ]
            for part in parts:
                yield part

    async with AsyncClient(Newer(answer)) as client:
        told: list[int] = []
        found = await client.best_of_n("p", "q", 1, on_candidate=lambda c: told.append(c.index))
    assert (found.best, told) == (0, [0])
