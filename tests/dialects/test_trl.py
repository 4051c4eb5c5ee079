"""Reward functions inside TRL's own trainer, against a service that listens."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon import AsyncClient, Client, InvalidInput, MockTransport, UnknownModel, reward_handler
from guerdon.integrations.trl import async_reward_func, reward_func
from tests.contract.harness import Served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards
from tests.training_ppo.tiny import build_policy

on_one_loop = pytest.mark.asyncio(loop_scope="module")

STEPS = 2


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return build_policy(tmp_path_factory.mktemp("policy"))


def train(policy: Path, folder: Path, reward_funcs: list[Any]) -> list[dict[str, float]]:
    """Two steps of GRPO; what was logged at each."""
    prompts = [[{"role": "user", "content": words}] for words in ("red", "blue one", "two", "green")]
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(policy),
        processing_class=AutoTokenizer.from_pretrained(policy),
        reward_funcs=reward_funcs,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        args=GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=4,
            max_steps=STEPS,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            seed=0,
        ),
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@on_one_loop
async def test_grpo(running: Served, policy: Path, tmp_path: Path) -> None:
    """Both kinds in one run; they must agree about every completion."""
    url = f"http://127.0.0.1:{running.port}"
    with Client(url) as client:
        concurrent = async_reward_func(url, profile="quality", name="concurrent")
        rewards = [reward_func(client, name="plain"), concurrent]
        logged = await asyncio.to_thread(train, policy, tmp_path, rewards)
    assert len(logged) == STEPS
    for entry in logged:
        assert entry["rewards/plain/mean"] == pytest.approx(entry["rewards/concurrent/mean"], abs=1e-5)
        assert entry["plain/quality"] == pytest.approx(entry["rewards/plain/mean"], abs=1e-5)
        assert entry["concurrent/truncated"] == entry["plain/unscored"] == 0


@on_one_loop
async def test_equal_to_the_service(running: Served, rewards: Rewards) -> None:
    url = f"http://127.0.0.1:{running.port}"
    logged: dict[str, float] = {}
    expected = await rewards(model="double")
    given: dict[str, Any] = {"prompts": [PROMPT] * 3, "completions": list(RESPONSES), "label": ["x"] * 3}
    with Client(url) as client:
        ask = reward_func(client, model="double")
        found = await asyncio.to_thread(ask, **given, log_metric=logged.__setitem__, log_extra=None)
    assert found == pytest.approx(expected, abs=1e-6)
    assert logged["guerdon/quality"] == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert set(logged) == {f"guerdon/{m}" for m in ("unscored", "quality", "brevity", "std", "truncated")}
    async with AsyncClient(url) as concurrent:
        assert await async_reward_func(concurrent, model="double")(**given) == found
        with pytest.raises(UnknownModel):
            await async_reward_func(concurrent, model="absent")(**given)


def mock(**given: Any) -> list[float | None]:
    """A service whose reward is the number of turns before the response, and its length in hundredths."""
    handler = reward_handler(
        lambda prompt, response: (1 if isinstance(prompt, str) else len(prompt)) + len(response) / 100
    )
    with Client(MockTransport(handler)) as client:
        return reward_func(client)(**given)


def turn(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


def test_shapes_of_trl() -> None:
    asked = [turn("system", "s"), turn("user", [{"type": "text", "text": "Hi"}])]
    tools = [turn("assistant", None) | {"tool_calls": []}, turn("tool", "4"), turn("assistant", "four")]
    completions = [
        "text",
        [turn("assistant", "abc")],
        tools,
        [turn("assistant", [{"type": "text", "text": "ab"}])],
    ]
    found = mock(prompts=["Hi", asked, asked, asked], completions=completions)
    assert found == pytest.approx([1.04, 2.03, 4.04, 2.02])


def test_empty_completions_are_not_applicable() -> None:
    logged: dict[str, float] = {}
    completions = ["", "ab", [turn("assistant", "")]]
    found = mock(prompts=["Hi"] * 3, completions=completions, log_metric=logged.__setitem__)
    assert found == [None, pytest.approx(1.02), None]
    assert logged["guerdon/unscored"] == pytest.approx(2 / 3)
    assert mock(prompts=["Hi"], completions=[""]) == [None]


def test_completion_without_the_assistant() -> None:
    with pytest.raises(InvalidInput, match="assistant"):
        mock(prompts=["Hi"], completions=[[turn("tool", "4")]])


def test_what_trl_looks_at() -> None:
    with Client(MockTransport(reward_handler(lambda prompt, response: 1.0))) as client:
        plain = reward_func(client, name="a")
    concurrent = async_reward_func(AsyncClient(MockTransport(lambda verb, payload: {})))
    assert (plain.__name__, concurrent.__name__) == ("a", "guerdon")
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.iscoroutinefunction(concurrent)
