"""Best-of-n, evaluations, the registry and feedback over REST: events, statuses, and what is refused."""

import asyncio
import json
from typing import Any

import pytest

from guerdon_service.core.errors import BackendFailed
from tests.contract.harness import ADMIN_KEY, KEYS, RIVAL_KEY, SCORER_KEY, Served, Watching, served
from tests.contract.test_contract import comparable
from tests.domain_fakes import EchoBestOfN, StepEvaluator
from tests.fakes import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEST: dict[str, Any] = {"policy": "echo", "prompt": "p", "n": 3}
EVALUATION = {"candidate": "m", "dataset": "d.jsonl", "baseline": "n"}


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_stream_tells_what_the_reply_tells(running: Served) -> None:
    whole = await running.rest.post("/v1/best-of-n", json=BEST)
    streamed = await running.rest.post("/v1/best-of-n", json=BEST | {"stream": True})
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert streamed.headers["x-request-id"]
    *candidates, (name, result) = events(streamed.text)
    assert [n for n, _ in candidates] == ["candidate"] * 3 and name == "result"
    assert [c["response"] for _, c in candidates] == ["reply 0", "reply 1", "reply 1"]
    assert [c for _, c in candidates] == result["candidates"]
    fields = ["reward", "attributes", "raw", "std", "tokens", "truncated", "cached"]
    assert [list(c["score"]) for c in result["candidates"]] == [fields] * 3
    assert comparable(result) == comparable(whole.json())


async def test_a_failure_before_the_first_candidate_has_its_status() -> None:
    async with running_service() as scorer, served(best_of_n=EchoBestOfN(scorer, fail_after=0)) as it:
        for stream in (False, True):
            response = await it.rest.post("/v1/best-of-n", json=BEST | {"stream": stream})
            assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")


@pytest.mark.parametrize(
    ("error", "code"),
    [(BackendFailed("the policy died"), "backend_failed"), (KeyError("secret"), "internal")],
)
async def test_a_failure_after_it_ends_the_stream_with_an_error_event(error: Exception, code: str) -> None:
    observer = Watching()
    async with (
        running_service() as scorer,
        served(best_of_n=EchoBestOfN(scorer, 2, error), observer=observer) as it,
    ):
        response = await it.rest.post("/v1/best-of-n", json=BEST | {"stream": True})
        assert response.status_code == 200
        *candidates, (name, told) = events(response.text)
        assert (len(candidates), name, told["error"]["code"]) == (2, "error", code)
        assert "secret" not in response.text
        assert observer.codes == [code]


async def test_a_client_that_leaves_ends_the_work() -> None:
    observer = Watching()
    async with running_service() as scorer:
        fake = EchoBestOfN(scorer, gate=asyncio.Event())
        async with served(best_of_n=fake, observer=observer) as it:
            async with it.rest.stream("POST", "/v1/best-of-n", json=BEST | {"stream": True}) as response:
                assert (await anext(response.aiter_lines())) == "event: candidate"
            await observer.until(lambda: "cancelled" in observer.codes)
    assert fake.num_closed == 1


async def test_an_evaluation_from_start_to_report() -> None:
    async with served() as it:
        started = await it.rest.post("/v1/evaluations", json=EVALUATION)
        assert (started.status_code, started.json()["state"]) == (202, "queued")
        path = f"/v1/evaluations/{started.json()['id']}"
        early = await it.rest.get(path + "/report")
        assert (early.status_code, early.headers["retry-after"]) == (503, "1")
        told = events((await it.rest.get(path + "/events")).text)
        assert [name for name, _ in told] == ["progress", "progress", "progress", "result"]
        done = (await it.rest.get(path)).json()
        assert told[-1][1] == done
        assert (done["verdict"], done["accuracy"]) == ("better", {"value": 0.75, "low": 0.5, "high": 0.875})
        page = await it.rest.get(path + "/report")
        assert page.headers["content-type"].startswith("text/html")
        notes = await it.rest.get(path + "/report?format=markdown")
        assert (notes.headers["content-type"], notes.text) == ("text/markdown; charset=utf-8", "### report")
        plain = await it.rest.get(path + "/report?format=plain")
        assert plain.headers["content-type"] == "text/plain; charset=utf-8"
        refused = (await it.rest.get(path + "/report?format=pdf")).json()["error"]
        assert (refused["code"], refused["param"]) == ("invalid_input", "format")
        (listed,) = (await it.rest.get("/v1/evaluations")).json()["evaluations"]
        assert "report" not in listed and listed["id"] == done["id"]
        assert (await it.rest.delete(path)).json()["state"] == "done"


async def test_a_running_evaluation_is_cancelled() -> None:
    async with served(evaluator=StepEvaluator(asyncio.Semaphore(0))) as it:
        path = f"/v1/evaluations/{(await it.rest.post('/v1/evaluations', json=EVALUATION)).json()['id']}"
        assert (await it.rest.delete(path)).json()["state"] == "cancelled"


@pytest.mark.parametrize("key", [SCORER_KEY, ADMIN_KEY])
async def test_an_evaluation_is_its_owners_and_an_admins(key: str) -> None:
    """Another key is told what it would be told of an id that never was."""
    headers = {name: {"authorization": f"Bearer {secret}"} for name, secret in (
        ("owner", SCORER_KEY), ("rival", RIVAL_KEY), ("seer", key)
    )}  # fmt: skip
    async with served(keys=KEYS) as it:
        ask = it.rest.request
        started = await ask("POST", "/v1/evaluations", json=EVALUATION, headers=headers["owner"])
        path = f"/v1/evaluations/{started.json()['id']}"
        looks = [("GET", path), ("GET", path + "/events"), ("GET", path + "/report"), ("DELETE", path)]
        for method, url in looks:
            told = await ask(method, url, headers=headers["rival"])
            assert (told.status_code, told.json()["error"]["code"]) == (404, "unknown_evaluation"), url
        assert it.services.evaluator.kept[started.json()["id"]].state == "queued"  # type: ignore[attr-defined]
        listed = [(await ask("GET", "/v1/evaluations", headers=headers[n])).json() for n in headers]
        assert [len(each["evaluations"]) for each in listed] == [1, 0, 1]
        for method, url in looks:
            assert (await ask(method, url, headers=headers["seer"])).status_code == 200, url


async def test_the_gate_refuses_with_409() -> None:
    async with served() as it:
        for source in ("one", "two"):
            assert (await it.rest.post("/v1/models/m/versions", json={"source": source})).status_code == 201
        refused = await it.rest.post("/v1/models/m/promote", json={"version": "2"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "gate_refused")
        moved = await it.rest.post("/v1/models/m/promote", json={"version": "2", "evaluation_id": "e"})
        assert (moved.status_code, moved.json()["previous"]) == (200, "1")
        back = await it.rest.post("/v1/models/m/rollback", json={"reason": "r"})
        assert (back.json()["action"], back.json()["version"]) == ("rollback", "1")
        history = (await it.rest.get("/v1/models/m/versions")).json()
        assert [v["source"] for v in history["versions"]] == ["one", "two"]
        assert history["aliases"] == {"champion": "1"}


BAD: dict[str, tuple[str, str, str]] = {
    "no policy": ("/v1/best-of-n", '{"prompt": "p", "n": 2}', "policy"),
    "policy a number": ("/v1/best-of-n", '{"policy": 1, "prompt": "p", "n": 2}', "policy"),
    "no n": ("/v1/best-of-n", '{"policy": "echo", "prompt": "p"}', "n"),
    "n a text": ("/v1/best-of-n", '{"policy": "echo", "prompt": "p", "n": "2"}', "n"),
    "n zero": ("/v1/best-of-n", '{"policy": "echo", "prompt": "p", "n": 0}', "n"),
    "n and a half": ("/v1/best-of-n", '{"policy": "echo", "prompt": "p", "n": 2.5}', "n"),
    "no prompt": ("/v1/best-of-n", '{"policy": "echo", "n": 2}', "prompt"),
    "lane": ("/v1/best-of-n", '{"policy": "echo", "prompt": "p", "n": 2, "lane": "bulk"}', "lane"),
    "stream a text": (
        "/v1/best-of-n",
        '{"policy": "echo", "prompt": "p", "n": 2, "stream": "yes"}',
        "stream",
    ),
    "temperature a list": (
        "/v1/best-of-n",
        '{"policy": "echo", "prompt": "p", "n": 2, "temperature": [1]}',
        "temperature",
    ),
    "surrogate policy": ("/v1/best-of-n", '{"policy": "\\ud800", "prompt": "p", "n": 2}', "policy"),
    "no candidate": ("/v1/evaluations", '{"dataset": "d"}', "candidate"),
    "no dataset": ("/v1/evaluations", '{"candidate": "c"}', "dataset"),
    "margin a text": ("/v1/evaluations", '{"candidate": "c", "dataset": "d", "margin": "1"}', "margin"),
    "margin of 2": ("/v1/evaluations", '{"candidate": "c", "dataset": "d", "margin": 2}', "margin"),
    "robustness below 0": (
        "/v1/evaluations",
        '{"candidate": "c", "dataset": "d", "robustness": -1}',
        "robustness",
    ),
    "unknown field": ("/v1/evaluations", '{"candidate": "c", "dataset": "d", "folder": "/"}', "folder"),
    "surrogate dataset": ("/v1/evaluations", '{"candidate": "c", "dataset": "\\ud800"}', "dataset"),
    "no source": ("/v1/models/m/versions", "{}", "source"),
    "bad source": ("/v1/models/m/versions", '{"source": "bad"}', "source"),
    "bad name": ("/v1/models/a%20b/versions", '{"source": "good"}', "name"),
    "no version": ("/v1/models/m/promote", "{}", "version"),
    "version a number": ("/v1/models/m/promote", '{"version": 2}', "version"),
    "no reason": ("/v1/models/m/rollback", "{}", "reason"),
    "no chosen": ("/v1/feedback", '{"prompt": "p", "rejected": "r"}', "chosen"),
    "equal": ("/v1/feedback", '{"prompt": "p", "chosen": "r", "rejected": "r"}', "rejected"),
    "tags a list": ("/v1/feedback", '{"prompt": "p", "chosen": "c", "rejected": "r", "tags": []}', "tags"),
    "tag a number": (
        "/v1/feedback",
        '{"prompt": "p", "chosen": "c", "rejected": "r", "tags": {"k": 1}}',
        "tags.k",
    ),
    "tie a text": ("/v1/feedback", '{"prompt": "p", "chosen": "c", "rejected": "r", "tie": "no"}', "tie"),
    "shown a text": (
        "/v1/feedback",
        '{"prompt": "p", "chosen": "c", "rejected": "r", "shown": "c"}',
        "shown",
    ),
    "tenant": ("/v1/feedback", '{"prompt": "p", "chosen": "c", "rejected": "r", "tenant": "x"}', "tenant"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_body(running: Served, case: str) -> None:
    path, body, param = BAD[case]
    response = await running.rest.post(path, content=body, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (422, "invalid_input", param)
    assert param.split(".")[0] in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/evaluations/nobody", "unknown_evaluation"),
        ("GET", "/v1/evaluations/nobody/events", "unknown_evaluation"),
        ("GET", "/v1/evaluations/nobody/report", "unknown_evaluation"),
        ("DELETE", "/v1/evaluations/%ED%A0%80", "unknown_evaluation"),
        ("GET", "/v1/models/nobody/versions", "unknown_model"),
    ],
)
async def test_what_is_not_there_is_404(running: Served, method: str, path: str, code: str) -> None:
    response = await running.rest.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, code)


async def test_feedback_is_kept_once_under_its_id() -> None:
    async with served() as it:
        body = {"id": "mine", "prompt": "p", "chosen": "c", "rejected": "r"}
        for _ in range(2):
            response = await it.rest.post("/v1/feedback", json=body)
            assert (response.status_code, response.json()) == (201, {"id": "mine"})
