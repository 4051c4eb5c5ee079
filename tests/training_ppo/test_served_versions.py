"""A run on a service with several versions of its reward is held to one of them, whatever is promoted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from guerdon import Client
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, Profile
from guerdon_training.ppo.recipe import collect, train_ppo
from guerdon_training.ppo.remote_reward import RemoteReward
from tests.docs.code_blocks import DOCS, blocks_of
from tests.training_ppo.jobs import Killed
from tests.training_ppo.served import Running, plain_artifact, running
from tests.training_ppo.tiny import write_prompts

TEXTS = [Conversation.of("Why?", text) for text in ("one", "two three", "no")]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of ``reward`` 1, 2 and 3: N times the scores of version 1."""
    folder, found = tmp_path_factory.mktemp("versions"), {}
    for n in (1, 2, 3):
        profiles = {"mixed": Profile({"a": 0.5 * n, "b": 2.0 * n})}
        found[str(n)] = plain_artifact(
            folder / str(n), "llama", name="reward", version=str(n), profiles=profiles
        )
    return found


@pytest.fixture
def service(versions: dict[str, Path]) -> Iterator[Running]:
    """Version 1 is the champion, 2 the candidate."""
    with running([ModelSpec("reward", str(versions["1"]))]) as at:
        at.load(versions["2"])
        at.point("reward@candidate", "2")
        yield at


@pytest.fixture
def config(
    tmp_path: Path, policy_folder: Path, service: Running, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A run of three updates on the service's champion."""
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path / "prompts.jsonl")
    return {
        "name": "tiny",
        "version": "1",
        "base": str(policy_folder),
        "output": "artifact",
        "seed": 3,
        "data": {"train": "prompts.jsonl"},
        "reward": {"url": service.grpc, "model": "reward", "profile": "mixed"},
        "rollout": {"prompts_per_update": 4, "max_response_tokens": 6},
        "optim": {"updates": 3, "learning_rate": 1e-3, "epochs": 1, "num_threads": 1},
    }


def _train(config: dict[str, Any]) -> Manifest:
    Path("config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return train_ppo(Path("config.yaml"))


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_scores_are_those_of_the_version_that_the_reference_meant_at_the_start(
    service: Running, wire: str
) -> None:
    with Client(getattr(service, wire)) as client:
        first = RemoteReward(client, "reward", "mixed").score(TEXTS)
        double = pytest.approx([2.0 * (score or 0.0) for score in first], rel=1e-5)
        for reference in ("reward@2", "reward@candidate"):
            reward = RemoteReward(client, reference, "mixed")
            assert (reward.model, reward.identity["version"]) == ("reward@2", "2")
            assert reward.score(TEXTS) == double
        by_name, by_alias = RemoteReward(client, None, "mixed"), RemoteReward(client, "reward@candidate")
        service.point("reward@champion", "2")
        service.point("reward@candidate", "1")
        assert by_name.score(TEXTS) == first
        assert by_alias.score(TEXTS) == double


@pytest.mark.parametrize("model", ["", "reward@1"])
def test_a_promotion_amid_a_run_changes_nothing_nor_does_one_before_it_goes_on(
    config: dict[str, Any], service: Running, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    config["reward"]["model"] = model
    config["gold"] = {**config["reward"], "model": "reward@champion"}
    config["data"]["valid"] = str(write_prompts(Path("valid.jsonl"), 4, start=12))
    whole = _train(config)
    Path("artifact").rename("whole")

    def interrupted(accelerator: Any, job: Any, progress: Any, number: int) -> Any:
        if number == 1:
            service.point("reward@champion", "2")
        if number == 2:
            raise Killed
        return collect(accelerator, job, progress, number)

    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.ppo.recipe.collect", interrupted)
        with pytest.raises(Killed):
            _train(config)
    resumed = _train(config)
    assert resumed.parents["reward"]["version"] == resumed.parents["gold"]["version"] == "1"
    assert resumed.parents["config"]["reward"]["model"] == "reward@1"  # config.yaml gives this run again
    assert Path("artifact/metrics.jsonl").read_text() == Path("whole/metrics.jsonl").read_text()
    assert resumed.digest == whole.digest


def test_a_run_whose_version_is_served_no_more_says_so_and_another_begins_on_what_the_alias_means(
    config: dict[str, Any], service: Running, versions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config["reward"]["model"] = "reward@candidate"
    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.ppo.recipe.learning_rate", _killed_after(1))
        with pytest.raises(Killed):
            _train(config)
    service.load(versions["3"])
    service.point("reward@candidate", "3")
    service.unload("reward@2")
    said = r"began with reward@2, which the service holds no more.*remove .*checkpoint\.pt to start over"
    with pytest.raises(InvalidInput, match=said) as refused:
        _train(config)
    assert refused.value.param == "reward.model"
    Path("artifact/.run/checkpoint.pt").unlink()
    assert _train(config).parents["reward"]["version"] == "3"


def test_the_config_of_the_page_trains(
    config: dict[str, Any], service: Running, policy_folder: Path, tmp_path: Path
) -> None:
    section = (DOCS / "pipeline.md").read_text("utf-8").partition("## PPO against a running service")[2]
    (block,) = (b for b in blocks_of(DOCS / "pipeline.md") if b.text in section.partition("\n## ")[0])
    write_prompts(tmp_path / "train.jsonl")
    write_prompts(tmp_path / "valid.jsonl", 2, start=12)
    (tmp_path / "page.yaml").write_text(block.text.replace("http://127.0.0.1:8080", service.rest), "utf-8")
    small = ("rollout.prompts_per_update=2", "rollout.max_response_tokens=4", "optim.updates=1")
    manifest = train_ppo(tmp_path / "page.yaml", (f"base={policy_folder}", *small))
    assert (manifest.parents["reward"]["version"], manifest.parents["gold"]["version"]) == ("2", "1")


def _killed_after(updates: int) -> Any:
    def rate(start: float, done: int, _: Any) -> float:
        if done == updates:
            raise Killed
        return start

    return rate
