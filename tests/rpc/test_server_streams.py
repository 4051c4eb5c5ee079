"""BestOfN and Evaluate: messages as they come, errors after some, and callers who leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from tests.contract.harness import (
    ADMIN_KEY,
    KEYS,
    RIVAL_KEY,
    SCORER_KEY,
    Served,
    Watching,
    refusal,
    served,
)
from tests.domain_fakes import EchoBestOfN, StepEvaluator
from tests.fakes import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEST = pb.BestOfNRequest(policy="echo", prompt="p", n=3, seed=7)
EVALUATE = pb.EvaluateRequest(candidate="m", baseline="n", dataset="d.jsonl")


async def test_candidates_come_first_and_the_result_last(running: Served) -> None:
    *candidates, last = [event async for event in running.stub.BestOfN(BEST)]
    assert [c.candidate.index for c in candidates] == [0, 1, 2]
    assert list(last.result.candidates) == [c.candidate for c in candidates]
    assert (last.result.best, last.result.policy, last.result.model.name) == (1, "echo", "fake")
    assert last.result.candidates[2].duplicate_of == 1
    assert not last.result.candidates[1].HasField("duplicate_of")


async def test_a_candidate_arrives_before_the_next_is_there() -> None:
    gate = asyncio.Event()
    async with running_service() as scorer:
        fake = EchoBestOfN(scorer, gate=gate)
        async with served(best_of_n=fake) as it:
            call = it.stub.BestOfN(BEST)
            assert (await call.read()).candidate.index == 0
            gate.set()
            assert [(await call.read()).WhichOneof("event") for _ in range(3)] == [
                "candidate",
                "candidate",
                "result",
            ]


@pytest.mark.parametrize("after", [0, 2])
async def test_an_error_ends_the_stream_with_its_status(after: int) -> None:
    async with running_service() as scorer, served(best_of_n=EchoBestOfN(scorer, fail_after=after)) as it:
        call, got = it.stub.BestOfN(BEST), []
        with pytest.raises(grpc.aio.AioRpcError) as err:
            async for event in call:
                got.append(event.candidate.index)
    assert got == list(range(after))
    assert (err.value.code(), refusal(err.value).code) == (grpc.StatusCode.UNAVAILABLE, "not_ready")


async def test_cancelling_closes_the_work() -> None:
    observer = Watching()
    async with running_service() as scorer:
        fake = EchoBestOfN(scorer, gate=asyncio.Event())
        async with served(best_of_n=fake, observer=observer) as it:
            call = it.stub.BestOfN(BEST)
            await call.read()
            call.cancel()
            await observer.until(lambda: "cancelled" in observer.codes)
    assert fake.num_closed == 1


async def test_an_evaluation_is_started_and_followed_to_its_end(running: Served) -> None:
    states = [message async for message in running.stub.Evaluate(EVALUATE)]
    assert [(s.state, s.done) for s in states] == [("queued", 0), ("running", 1), ("running", 2), ("done", 3)]
    last = states[-1]
    assert (last.candidate, last.baseline, last.dataset) == ("m@1", "n@1", "d.jsonl")
    assert (last.verdict, last.accuracy.value, last.delta.low) == ("better", 0.75, 0.01)
    assert json.loads(last.report_json)["comparison"]["verdict"] == "better"
    assert not states[0].HasField("accuracy") and not states[0].report_json
    (again,) = [message async for message in running.stub.Evaluate(pb.EvaluateRequest(id=last.id))]
    assert again == last


async def test_an_evaluation_is_its_owners_and_an_admins() -> None:
    """Another key is told what it would be told of an id that never was."""
    fake = StepEvaluator(gate=asyncio.Semaphore(0))
    owner, rival, admin = [
        (("authorization", f"Bearer {key}"),) for key in (SCORER_KEY, RIVAL_KEY, ADMIN_KEY)
    ]
    async with served(keys=KEYS, evaluator=fake) as it:
        started = await it.stub.Evaluate(EVALUATE, metadata=owner).read()
        follow, cancel = pb.EvaluateRequest(id=started.id), pb.CancelEvaluationRequest(id=started.id)
        report = pb.GetEvaluationReportRequest(id=started.id)
        for call in (
            it.stub.Evaluate(follow, metadata=rival).read(),
            it.stub.CancelEvaluation(cancel, metadata=rival),
            it.stub.GetEvaluationReport(report, metadata=rival),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as err:
                await call
            assert refusal(err.value).code == "unknown_evaluation"
        assert (await it.stub.Evaluate(follow, metadata=owner).read()).id == started.id
        assert fake.kept[started.id].state == "queued"
        for key, ids in ((owner, [started.id]), (rival, []), (admin, [started.id])):
            listed = await it.stub.ListEvaluations(pb.ListEvaluationsRequest(), metadata=key)
            assert [e.id for e in listed.evaluations] == ids
        assert (await it.stub.Evaluate(follow, metadata=admin).read()).id == started.id
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await it.stub.Evaluate(EVALUATE, metadata=admin).read()
        assert refusal(err.value).code == "permission_denied"
        assert (await it.stub.CancelEvaluation(cancel, metadata=admin)).state == "cancelled"
        assert [s.state async for s in it.stub.Evaluate(follow, metadata=owner)] == ["cancelled"]


async def test_an_evaluation_goes_on_without_its_caller_and_is_cancelled_by_name() -> None:
    fake = StepEvaluator(gate=asyncio.Semaphore(0))
    async with served(evaluator=fake) as it:
        call = it.stub.Evaluate(EVALUATE)
        started = await call.read()
        call.cancel()
        assert fake.kept[started.id].state == "queued"
        stopped = await it.stub.CancelEvaluation(pb.CancelEvaluationRequest(id=started.id))
        assert stopped.state == "cancelled"


BAD: dict[str, tuple[str, Any, str, str]] = {
    "no policy": ("BestOfN", pb.BestOfNRequest(prompt="p", n=2), "invalid_input", "policy"),
    "no n": ("BestOfN", pb.BestOfNRequest(policy="echo", prompt="p"), "invalid_input", "n"),
    "no prompt": ("BestOfN", pb.BestOfNRequest(policy="echo", n=2), "invalid_input", "prompt"),
    "unknown model": (
        "BestOfN",
        pb.BestOfNRequest(policy="echo", prompt="p", n=2, model="nobody"),
        "unknown_model",
        "model",
    ),
    "deadline": (
        "BestOfN",
        pb.BestOfNRequest(policy="echo", prompt="p", n=2, deadline_ms=0),
        "invalid_input",
        "deadline_ms",
    ),
    "no candidate": ("Evaluate", pb.EvaluateRequest(dataset="d"), "invalid_input", "candidate"),
    "no dataset": ("Evaluate", pb.EvaluateRequest(candidate="m"), "invalid_input", "dataset"),
    "id and more": ("Evaluate", pb.EvaluateRequest(id="e1", dataset="d"), "invalid_input", "id"),
    "unknown id": ("Evaluate", pb.EvaluateRequest(id="nobody"), "unknown_evaluation", "id"),
    "unknown format": (
        "GetEvaluationReport",
        pb.GetEvaluationReportRequest(id="e1", format="pdf"),
        "invalid_input",
        "format",
    ),
    "unknown report": (
        "GetEvaluationReport",
        pb.GetEvaluationReportRequest(id="x"),
        "unknown_evaluation",
        "id",
    ),
    "robustness below 0": (
        "Evaluate",
        pb.EvaluateRequest(candidate="m", dataset="d", robustness=-1),
        "invalid_input",
        "robustness",
    ),
    "cancel unknown": ("CancelEvaluation", pb.CancelEvaluationRequest(), "unknown_evaluation", "id"),
    "no name": ("RegisterModel", pb.RegisterModelRequest(source="s"), "invalid_input", "name"),
    "no source": ("RegisterModel", pb.RegisterModelRequest(name="n"), "invalid_input", "source"),
    "unknown history": ("GetModelHistory", pb.GetModelHistoryRequest(name="x"), "unknown_model", "name"),
    "no version": ("PromoteModel", pb.PromoteModelRequest(name="n"), "invalid_input", "version"),
    "unknown name": ("RollbackModel", pb.RollbackModelRequest(name="x"), "unknown_model", "name"),
    "equal texts": (
        "SubmitFeedback",
        pb.SubmitFeedbackRequest(prompt="p", chosen="a", rejected="a"),
        "invalid_input",
        "rejected",
    ),
    "no turns": (
        "SubmitFeedback",
        pb.SubmitFeedbackRequest(chosen="a", rejected="b"),
        "invalid_input",
        "prompt",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_message(running: Served, case: str) -> None:
    name, request, code, param = BAD[case]
    call = getattr(running.stub, name)(request)
    with pytest.raises(grpc.aio.AioRpcError) as err:
        await (_drain(call) if name in ("BestOfN", "Evaluate") else call)
    told = refusal(err.value)
    assert (told.code, told.param) == (code, param)


async def _drain(messages: AsyncIterator[Any]) -> list[Any]:
    return [message async for message in messages]
