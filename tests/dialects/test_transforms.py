"""One table of all dialects: the score of each route, raw and by default, and what the page says of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from guerdon_protos.dialects import oip_pb2, tei_pb2
from guerdon_protos.dialects.oip_pb2_grpc import GRPCInferenceServiceStub
from guerdon_protos.dialects.tei_pb2_grpc import PredictStub, RerankStub
from guerdon_service.rest.dialects.mount import DIALECTS
from tests.contract.harness import Served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards
from tests.dialects.test_pooling import CHATML, sigmoid
from tests.docs.module_list import ROOT

on_one_loop = pytest.mark.asyncio(loop_scope="module")

Body = dict[str, Any]
OFF = {"activation": False}
RAW = {"raw_scores": True}
TEXTS = [CHATML.format(prompt=PROMPT, response=response) for response in RESPONSES]
PAIRS = [[PROMPT, response] for response in RESPONSES]
QUERY = {"query": PROMPT, "documents": list(RESPONSES)}


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a dialect: what it is asked, and the scores in its reply, in the order of `RESPONSES`.

    raw: what a request adds to get raw scores where it gets others by default; None: nothing does.
    """

    transform: Literal["none", "sigmoid"]
    body: Body
    scores: Callable[[Any], list[float]]
    raw: Body | None = None


def by_index(name: str, results: str | None = None) -> Callable[[Any], list[float]]:
    def read(reply: Any) -> list[float]:
        found = reply if results is None else reply[results]
        return [entry[name] for entry in sorted(found, key=lambda entry: entry["index"])]

    return read


def tensor(name: str, values: list[str]) -> Body:
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": values}


RERANK = Route("sigmoid", QUERY, by_index("relevance_score", "results"), OFF)
PROMPTS = [PROMPT] * len(RESPONSES)
ROUTES = {
    ("openrlhf", "/get_reward"): Route(
        "none", {"query": TEXTS, "prompts": [], "labels": []}, lambda reply: reply["rewards"]
    ),
    ("slime", "/reward"): Route("none", {"prompt": PROMPT, "response": RESPONSES[0]}, lambda reply: [reply]),
    ("vllm", "/classify"): Route(
        "sigmoid", {"input": TEXTS}, lambda reply: [entry["probs"][-1] for entry in reply["data"]], OFF
    ),
    ("vllm", "/pooling"): Route(
        "sigmoid", {"input": TEXTS}, lambda reply: [entry["data"][-1] for entry in reply["data"]], OFF
    ),
    ("vllm", "/score"): Route(
        "sigmoid", {"text_1": PROMPT, "text_2": list(RESPONSES)}, by_index("score", "data"), OFF
    ),
    ("vllm", "/v1/score"): Route(
        "sigmoid", {"text_1": PROMPT, "text_2": list(RESPONSES)}, by_index("score", "data"), OFF
    ),
    ("vllm", "/rerank"): RERANK,
    ("vllm", "/v1/rerank"): RERANK,
    ("vllm", "/v2/rerank"): RERANK,
    ("sglang", "/v1/embeddings"): Route(
        "none", {"input": TEXTS}, lambda reply: [entry["embedding"][-1] for entry in reply["data"]]
    ),
    ("sglang", "/v1/score"): Route(
        "none", {"query": PROMPT, "items": list(RESPONSES)}, lambda reply: [s[-1] for s in reply["scores"]]
    ),
    ("tei", "/predict"): Route(
        "sigmoid", {"inputs": PAIRS}, lambda reply: [answer[0]["score"] for answer in reply], RAW
    ),
    ("tei", "/rerank"): Route("sigmoid", {"query": PROMPT, "texts": RESPONSES}, by_index("score"), RAW),
    ("cohere", "/v2/rerank"): Route("sigmoid", QUERY, by_index("relevance_score", "results")),
    ("jina", "/v1/rerank"): Route("sigmoid", QUERY, by_index("relevance_score", "results")),
    ("voyage", "/v1/rerank"): Route("sigmoid", QUERY, by_index("relevance_score", "data")),
    ("oip", "/v2/models/fake/infer"): Route(
        "none",
        {"inputs": [tensor("prompt", PROMPTS), tensor("response", list(RESPONSES))]},
        lambda reply: reply["outputs"][0]["data"],
    ),
}
SCORE_NOTHING = {("vllm", "/tokenize")}
VERSIONED = ("oip", "/v2/models/fake/versions/1/infer")


def test_every_route_that_scores_is_here() -> None:
    mounted = {
        (name, route.path.format(name="fake", version="1"))
        for name, dialect in DIALECTS.items()
        for route in dialect.routes
        if route.method == "POST"
    }
    assert mounted - SCORE_NOTHING - {VERSIONED} == set(ROUTES)


@on_one_loop
@pytest.mark.parametrize(("dialect", "path"), ROUTES, ids="".join)
async def test_a_route_applies_its_transform_and_no_other(
    running: Served, rewards: Rewards, dialect: str, path: str
) -> None:
    route = ROUTES[dialect, path]
    expected = await rewards()

    async def ask(more: Body) -> list[float]:
        reply = await running.rest.post(f"/{dialect}{path}", json=route.body | more)
        assert reply.status_code == 200, reply.text
        return route.scores(reply.json())

    for more, values in (
        ({}, expected if route.transform == "none" else sigmoid(expected)),
        *([] if route.raw is None else [(route.raw, expected)]),
    ):
        found = await ask(more)
        assert found == pytest.approx(values[: len(found)], rel=0, abs=1e-6)
        assert len(found) == (1 if dialect == "slime" else len(RESPONSES))


@on_one_loop
async def test_the_grpc_faces_apply_the_same(running: Served, rewards: Rewards) -> None:
    expected = await rewards()
    predict: Any = PredictStub(running.channel)
    rerank: Any = RerankStub(running.channel)
    triton: Any = GRPCInferenceServiceStub(running.channel)
    for raw, values in ((False, sigmoid(expected)), (True, expected)):
        told = [
            await predict.PredictPair(tei_pb2.PredictPairRequest(inputs=p, raw_scores=raw)) for p in PAIRS
        ]
        scores = [reply.predictions[0].score for reply in told]
        assert scores == pytest.approx(values, rel=0, abs=1e-6)
        asked = tei_pb2.RerankRequest(query=PROMPT, texts=RESPONSES, raw_scores=raw)
        ranks = sorted((await rerank.Rerank(asked)).ranks, key=lambda rank: rank.index)
        assert [rank.score for rank in ranks] == pytest.approx(values, rel=0, abs=1e-6)
    request = oip_pb2.ModelInferRequest(model_name="fake")
    for name, texts in (("prompt", PROMPTS), ("response", RESPONSES)):
        contents = {"bytes_contents": [text.encode() for text in texts]}
        request.inputs.add(name=name, datatype="BYTES", shape=[len(texts)], contents=contents)
    reply = await triton.ModelInfer(request)
    assert list(reply.outputs[0].contents.fp64_contents) == pytest.approx(expected, rel=0, abs=1e-6)


def rows() -> dict[str, list[str]]:
    """The first table of the page: cells by dialect."""
    text = (ROOT / "docs" / "dialects.md").read_text("utf-8").partition("## Over gRPC")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {re.findall(r"`(\w+)`", row[0])[0]: row[1:] for row in cells}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_page_says_what_is_applied(dialect: str) -> None:
    routes, transform, switch, _ = rows()[dialect]
    mine = {path: route for (name, path), route in ROUTES.items() if name == dialect}
    assert {transform.strip("*")} == {route.transform for route in mine.values()}
    assert bool(switch) == any(route.raw for route in mine.values())
    for route in mine.values():
        for name, value in (route.raw or {}).items():
            assert f'"{name}": {str(value).lower()}' in switch
    told = routes.replace("`.../ready`", "").replace("`.../infer`", "")
    if dialect != "oip":
        assert all(f"{path}`" in told for path in mine)


def test_the_page_names_every_dialect() -> None:
    assert set(rows()) == set(DIALECTS)
