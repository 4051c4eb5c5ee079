"""The composed service with real models and policies: an evaluation of policies has the same numbers in
process, over REST, over gRPC and by the command, and its rewards are those of `/v1/score`."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch

import guerdon
from guerdon import AsyncClient, PolicyPrompt
from guerdon.cli.main import main
from guerdon_service.app.build import Domain, build, start
from guerdon_service.app.listen import Listening, listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import JudgeSettings, ModelSettings, PolicySettings, Settings
from guerdon_service.core.auth import Keyring
from guerdon_service.core.call import Call
from guerdon_service.core.limits import Limits
from guerdon_service.rest.policy_evaluation_wire import decode_policy_evaluation, render_policy_evaluation
from tests.policies.engine_stub import engine
from tests.policies.test_openai_judge import judging
from tests.policies.tiny_policy import build_policy
from tests.tiny import build_tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDS = [{"prompt": text} for text in ("red blue", "one two", "blue one", "two red", "red blue")]
GIVEN = {"policies": ["second", "third"], "baseline": "first", "gold": "other", "judge": "longer"}
ASKED: dict[str, Any] = {**GIVEN, "n": 4, "max_tokens": 8, "seed": 3}


@dataclass(frozen=True)
class Whole:
    """A composed service on its ports."""

    domain: Domain
    at: Listening

    @property
    def urls(self) -> tuple[str, str]:
        return f"http://127.0.0.1:{self.at.port}", f"grpc://127.0.0.1:{self.at.grpc_port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    torch.set_num_threads(1)
    root, observer = tmp_path_factory.mktemp("policies"), PrometheusObserver()
    models = {
        name: ModelSettings(source=str(build_tiny("bert", root / name, seed=i)))
        for i, name in enumerate(("reward", "other"))
    }
    policies = {
        name: PolicySettings(source=str(build_policy(root / name, seed=i)))
        for i, name in enumerate(("first", "second", "third"))
    }
    async with engine(judging(lambda a, b: len(a) > len(b))) as upstream:
        judges = {"longer": JudgeSettings(url=upstream.url)}
        settings = Settings(
            port=0, grpc_port=0, threads=1, models=models, policies=policies, judges=judges, console=False
        )
        domain = await build(settings, observer)
        try:
            await start(domain, settings)
            async with listening(domain.services, settings, auth=Keyring(), observer=observer) as at:
                yield Whole(domain, at)
        finally:
            await domain.close()


def comparable(result: Any) -> Any:
    """As JSON gives it back, but for what may differ."""
    plain = json.loads(result) if isinstance(result, bytes | str) else json.loads(json.dumps(asdict(result)))
    return {key: value for key, value in plain.items() if key not in ("total_ms", "request_id")}


async def test_every_way_gives_the_same_numbers(
    whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, _ = decode_policy_evaluation({**ASKED, "prompts": RECORDS}, Call("", "in-process"), Limits())
    expected = comparable(render_policy_evaluation(await whole.domain.policy_evaluations.run(query), ""))
    for url in whole.urls:
        steps: list[int] = []
        async with AsyncClient(url) as client:
            told = await client.evaluate_policy(
                prompts=[record["prompt"] for record in RECORDS],
                on_progress=lambda progress: steps.append(progress.done),  # noqa: B023
                **ASKED,
            )
        assert comparable(told) == expected, url
        assert (steps[0], steps[-1]) == (0, len(RECORDS) * (3 + 2 + 2)) and steps == sorted(steps)
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    argv = ["evaluate-policy", str(file), "--policy", "second", "--policy", "third", "--baseline", "first"]
    argv += ["--gold", "other", "--judge", "longer", "-n", "4", "--max-tokens", "8", "--seed", "3"]
    for url in whole.urls:
        assert await asyncio.to_thread(main, [*argv, "--url", url, "--json"]) == 0
        assert comparable(capsys.readouterr().out) == expected
    second, third = expected["policies"]
    assert second["kl"]["k3"]["value"] > 0 and second["kl_absent"] == ""
    assert second["win_rate"]["raw"]["low"] <= second["win_rate"]["raw"]["value"] <= 1
    assert (third["judged"]["num_undecided"], third["unscored_rate"] < 1) == (0, True)
    assert [p["policy"] for p in expected["over_optimisation"]] in (["second", "third"], ["third", "second"])


async def test_the_reply_that_is_no_stream_is_the_same(whole: Whole) -> None:
    async with AsyncClient(whole.urls[0]) as client:
        body = {**ASKED, "prompts": RECORDS}
        whole_reply = await client._sender.transport.call("evaluate_policy", body, 60)
        told = await client.evaluate_policy(prompts=[r["prompt"] for r in RECORDS], **ASKED)
    assert comparable(json.dumps(whole_reply)) == comparable(told)


async def test_rewards_are_those_of_score_and_the_sample_that_of_best_of_n(whole: Whole) -> None:
    async with AsyncClient(whole.urls[1]) as client:
        found = await client.evaluate_policy(
            "second", [PolicyPrompt("red blue", "one")], max_tokens=8, seed=3
        )
        chosen = await client.best_of_n("second", "red blue", 1, max_tokens=8, seed=3)
        given = await client.score([("red blue", "one")])
    assert found.policies[0].reward.value == chosen.candidates[0].score.reward
    assert found.baseline_reward is not None
    assert found.baseline_reward.value == given.scores[0].reward
    assert found.policies[0].kl_absent == "no reference was named"


async def test_the_command_shows_tables_and_takes_preference_records(
    whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "preferences.jsonl"
    record = {
        "prompt": [{"role": "user", "content": "red"}],
        "chosen": [{"role": "assistant", "content": "a"}],
    }
    file.write_text(json.dumps(record) + "\n" + json.dumps(record | {"chosen": "b"}) + "\n")
    argv = ["evaluate-policy", str(file), "--policy", "first", "--baseline-field", "chosen", "-n", "2"]
    argv += ["--max-tokens", "8", "--reference", "first", "--temperature", "0.5", "--url", whole.urls[0]]
    assert await asyncio.to_thread(main, argv) == 0
    out = capsys.readouterr().out
    assert "2 prompts, n = 2, by reward@" in out and "against given responses" in out
    assert "win rate at equal length" in out and "best of n of first" in out
    assert "first: no KL, because responses are the policy's own only at temperature 1" in out
    file.write_text('{"prompt": "p", "messages": [], "chosen": "c"}\n')
    assert await asyncio.to_thread(main, argv) == 2
    assert "line 1: give exactly one of prompt and messages" in capsys.readouterr().err


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown policy": ({"policies": ["nobody"]}, "unknown_model", "policies"),
    "unknown baseline": ({"baseline": "nobody"}, "unknown_model", "baseline"),
    "unknown judge": ({"judge": "nobody"}, "unknown_model", "judge"),
    "unknown gold": ({"gold": "nobody"}, "unknown_model", "gold"),
    "n zero": ({"n": 0}, "invalid_input", "n"),
    "no prompts": ({"prompts": []}, "invalid_input", "prompts"),
    "empty prompt": ({"prompts": ["red", ""]}, "invalid_input", "prompts[1].prompt"),
    "two baselines": ({"prompts": [PolicyPrompt("red", "blue")]}, "invalid_input", "baseline"),
}


@pytest.mark.parametrize("wire", [0, 1])
@pytest.mark.parametrize("case", REFUSED)
async def test_both_wires_refuse_alike(whole: Whole, wire: int, case: str) -> None:
    changed, code, param = REFUSED[case]
    async with AsyncClient(whole.urls[wire]) as client:
        with pytest.raises(guerdon.GuerdonError) as refused:
            await client.evaluate_policy(**{"prompts": ["red"], **ASKED, **changed})
    assert (refused.value.code, refused.value.param) == (code, param)
