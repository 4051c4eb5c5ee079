"""`guerdon models`, `evaluate --url` and `best-of-n` against the real transports over fakes."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from guerdon import AsyncClient, Client
from guerdon.cli.demo_versions import fit_slope
from guerdon.cli.main import main
from guerdon_service.core.best_of_n import BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.evaluation import Evaluation
from tests.contract.harness import Served, served
from tests.domain_fakes import EchoBestOfN, StepEvaluator
from tests.fakes import running_service


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Served]:
    async with served() as it:
        yield it


@pytest.fixture(params=["rest", "grpc"])
def url(request: pytest.FixtureRequest, running: Served) -> str:
    grpc = request.param == "grpc"
    return f"grpc://127.0.0.1:{running.grpc_port}" if grpc else f"http://127.0.0.1:{running.port}"


async def run(*argv: str) -> int:
    return await asyncio.to_thread(main, list(argv))


async def test_versions_are_registered_promoted_and_rolled_back(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--url", url)
    for source in ("one", "two"):
        assert await run("models", "register", "m", source, *at) == 0
    assert "m@2 dddddddddddd, registered by anonymous" in capsys.readouterr().out
    assert await run("models", "promote", "m", "2", *at) == 2
    assert "guerdon: evidence: no evaluation" in capsys.readouterr().err
    assert await run("models", "promote", "m", "2", "--evaluation", "e1", *at) == 0
    told = capsys.readouterr().out
    assert "promote m@champion: 1 -> 2, by anonymous, on e1" in told
    assert "  passed  evidence: fine" in told and "  not asked latency: no budget" in told
    assert "new alias" not in told
    assert await run("models", "rollback", "m", "--reason", "", *at) == 2
    assert "reason is empty" in capsys.readouterr().err
    assert await run("models", "rollback", "m", "--reason", "slower", *at, "--json") == 0
    change = json.loads(capsys.readouterr().out)
    assert (change["action"], change["version"], change["reason"]) == ("rollback", "1", "slower")
    assert await run("models", "promote", "m", "2", "--override", "must be", "--alias", "next", *at) == 0
    told = capsys.readouterr().out
    assert "override m@next: none -> 2, by anonymous: must be\n  next is a new alias of m\n" in told
    assert await run("models", "registered", *at) == 0
    assert "champion: 1, next: 2" in capsys.readouterr().out
    assert await run("models", "history", "m", *at) == 0
    told = capsys.readouterr().out
    assert "champion" in told and told.count(" m@champion: ") == 3
    assert await run("models", "history", "m", "--json", *at) == 0
    assert json.loads(capsys.readouterr().out)["aliases"] == {"champion": "1", "next": "2"}
    assert await run("models", "remove-alias", "m", "next", "--reason", "it leaked", *at) == 0
    assert " remove m@next: 2 -> none, by anonymous: it leaked\n" in capsys.readouterr().out
    assert await run("models", "remove-alias", "m", "champion", "--reason", "no", *at) == 2
    assert "which stays" in capsys.readouterr().err
    assert await run("models", "registered", *at) == 0
    assert "next" not in capsys.readouterr().out


async def test_a_service_evaluates_and_its_verdict_is_printed(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, notes = tmp_path / "page.html", tmp_path / "notes.md"
    argv = ("evaluate", "--url", url, "--model", "m", "--against", "n", "--data", "d.jsonl")
    assert await run(*argv, "--report", str(page), "--markdown", str(notes)) == 0
    told = capsys.readouterr()
    assert told.out == "### report"  # the fake's, whatever is not html
    assert told.err.splitlines() == ["evaluation e1", f"wrote {page}", f"wrote {notes}"]
    assert (page.read_text()[:15], notes.read_text()) == ("<!doctype html>", "### report")
    assert await run(*argv, "--margin", "0.1", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["id"], done["verdict"], done["baseline"], done["done"]) == ("e2", "better", "n@1", 3)
    assert await run(*argv, "--report", str(tmp_path / "absent" / "page.html")) == 2
    assert "its folder does not exist" in capsys.readouterr().err


class Ending(StepEvaluator):
    """Ends without a result as soon as it is followed."""

    async def follow(self, evaluation_id: str) -> AsyncGenerator[Evaluation]:
        ended = await self.cancel(evaluation_id)
        is_first = evaluation_id == "e1"
        yield ended if is_first else replace(ended, state="failed", error="the data is another now")


async def test_an_evaluation_without_a_result_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    async with served(evaluator=Ending()) as it:
        argv = ("evaluate", f"--url=http://127.0.0.1:{it.port}", "--model", "m", "--data", "d.jsonl")
        for told in ("e1 was cancelled", "e2 failed: the data is another now"):
            assert await run(*argv) == 2
            assert capsys.readouterr().err.endswith(f"guerdon: evaluation {told}\n")


@pytest.mark.parametrize("wire", ["rest", "grpc"])
async def test_evaluations_are_listed_followed_and_cancelled(
    wire: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = asyncio.Semaphore(0)
    async with served(evaluator=StepEvaluator(gate)) as it:
        url = f"http://127.0.0.1:{it.port}" if wire == "rest" else f"grpc://127.0.0.1:{it.grpc_port}"
        at = ("--url", url)
        async with AsyncClient(url) as client:
            for baseline in (None, "n"):
                await client.evaluate("m", "d.jsonl", baseline=baseline, wait=False)
        assert await run("evaluations", "list", *at) == 0
        header, _, *rows = capsys.readouterr().out.splitlines()
        columns = ["id", "state", "candidate", "baseline", "data", "scored", "accuracy", "verdict"]
        assert header.split() == columns
        assert sorted(row.split()[:3] for row in rows) == [["e1", "queued", "m@1"], ["e2", "queued", "m@1"]]
        assert await run("evaluations", "cancel", "e1", *at) == 0
        assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["e1", "cancelled"]
        for _ in range(20):  # more than its three items: a stream that was left may still take some
            gate.release()
        assert await run("evaluations", "follow", "e2", *at) == 0
        assert capsys.readouterr().out == "### report"
        assert await run("evaluations", "follow", "e2", "--json", *at) == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == "better"
        assert await run("evaluations", "list", *at) == 0
        assert "3 of 3  0.750 [0.500, 0.875]  better" in capsys.readouterr().out
        assert await run("evaluations", "follow", "e1", *at) == 2
        assert "evaluation e1 was cancelled" in capsys.readouterr().err
        assert await run("evaluations", "cancel", "nobody", *at) == 2


async def test_whoever_interrupts_an_evaluation_is_told_how_to_go_on(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in the service; to run the command again would start another one."""

    def interrupted(client: Client, evaluation_id: str, on_progress: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "follow_evaluation", interrupted)
    with pytest.raises(SystemExit) as stopped:
        await asyncio.to_thread(
            main, ["evaluate", "--url", url, "--model", "m", "--data", "d.jsonl", "--json"]
        )
    assert stopped.value.code == 130
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "evaluation e1"
    assert told[1].startswith("guerdon: evaluation e1 goes on; `guerdon evaluations follow e1`")


def test_the_help_of_evaluate_with_a_service_is_true(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the flag the models are loaded here, whatever the environment says."""
    monkeypatch.setenv("GUERDON_URL", "http://elsewhere")
    with pytest.raises(SystemExit):
        main(["evaluate", "--url", "http://h:1", "--help"])
    told = capsys.readouterr().out
    assert "elsewhere" not in told and "GUERDON_URL" not in told
    assert "GUERDON_API_KEY" in told and "guerdon evaluations" in " ".join(told.split())


async def test_a_card_is_printed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("models", "register", "m", "folder", "--url", url) == 0
    capsys.readouterr()
    assert await run("models", "card", "m", "1", "--url", url) == 0
    assert capsys.readouterr().out.startswith("# m 1\n")
    assert await run("models", "card", "m", "1", "--json", "--url", url) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["version"], found["card"][:5]) == ("m", "1", "# m 1")
    assert await run("models", "card", "m", "2", "--url", url) == 2


async def test_models_are_listed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("models", "list", "--url", url) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "version", "aliases", "digest", "state", "backend", "dtype"]
    assert lines[2].split()[0] == "fake"
    assert await run("models", "list", "--json", "--url", url) == 0
    (info,) = json.loads(capsys.readouterr().out)
    assert (info["name"], info["state"]) == ("fake", "ready")


async def test_best_of_n_shows_candidates_as_they_come_and_prints_the_best(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("best-of-n", "a prompt", "-n", "3", "--policy", "echo", "--url", url)
    assert await run(*argv) == 0
    told = capsys.readouterr()
    assert told.out == "reply 1\n"
    assert [line.split()[0] for line in told.err.splitlines()[:3]] == ["0", "1", "2"]
    assert "best: 1 of 3; win rate against one sample at most 0.750" in told.err
    assert await run(*argv, "--json") == 0
    assert json.loads(capsys.readouterr().out)["best"] == 1


class Asked(EchoBestOfN):
    """Keeps what it was asked."""

    queries: ClassVar[list[BestOfNQuery]] = []

    def stream(self, query: BestOfNQuery) -> AsyncGenerator[ScoredCandidate | BestOfNResult]:
        self.queries.append(query)
        return super().stream(query)


async def test_every_option_of_the_choice_reaches_the_service() -> None:
    async with running_service() as scorer, served(best_of_n=Asked(scorer)) as it:
        argv = ["best-of-n", "p", "-n", "3", "--policy", "echo", "--url", f"http://127.0.0.1:{it.port}"]
        chosen = ["--min-margin", "0.5", "--conservatism", "1.5", "--choice-temperature", "0.25"]
        assert await run(*argv, *chosen, "--patience", "2") == 0
    (query,) = Asked.queries
    found = (query.min_margin, query.conservatism, query.choice_temperature, query.patience)
    assert found == (0.5, 1.5, 0.25, 2)


async def test_a_refusal_is_one_sentence(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("best-of-n", "p", "--policy", "nobody", "--url", url) == 2
    assert capsys.readouterr().err.startswith("guerdon: policy 'nobody' is not known")
    assert await run("models", "history", "nobody", "--url", url) == 2


def test_the_demos_slope_is_where_the_likelihood_is_flat() -> None:
    margins = [0.5, 1.0, -0.25, 2.0, -1.0, 0.75]
    slope = fit_slope(margins)
    assert slope is not None

    def log_likelihood(value: float) -> float:
        return -sum(log(1 + exp(-value * m)) for m in margins)

    best = log_likelihood(slope.value)
    assert all(log_likelihood(slope.value + step) < best for step in (-1e-4, 1e-4))
    assert slope.num_pairs == 6 and slope.se > 0
    assert fit_slope([1.0, 2.0]) is fit_slope([-1.0, -2.0]) is None
