"""A local artifact and a running service give one reward, and so one trajectory."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import guerdon
from guerdon import Client, MockTransport, reward_handler
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json, to_json
from guerdon_training.ppo.checkpoint import trained_state
from guerdon_training.ppo.config import ScoreSource
from guerdon_training.ppo.ensemble_reward import EnsembleReward, conservative
from guerdon_training.ppo.local_reward import LocalReward, Spread, open_local_reward
from guerdon_training.ppo.remote_reward import RemoteReward
from guerdon_training.ppo.rewards import open_reward
from tests.training_ppo.jobs import config_of, job_of, run
from tests.training_ppo.served import Running, all_artifacts, forget_package, plain_artifact, running

THREAD = (
    Message("user", "What is the capital of France?"),
    Message("assistant", "Paris."),
    Message("user", "Why?"),
)
CONVERSATIONS = (
    Conversation.of("What is the capital of France?", "The capital of France is Paris."),
    Conversation.of("What is the capital of France?", ""),
    Conversation.of(THREAD, "\n  It is on the Seine.\n"),
    Conversation.of("a", "b"),
    Conversation.of("Explain. " * 90, "The prompt is cut on the left, the response never."),
    Conversation.of("Hi", "far too long " * 90),
    Conversation.of("Say [SEP] or <|eot_id|>", "one [SEP] two <|eot_id|> three <|im_end|> four"),
    Conversation.of("Grüße 🙃", "¿Dónde está? 🎉"),
    Conversation.of("Hi", "   "),
)
NAMES = ("pair", "chat", "last", "adapter")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    root = tmp_path_factory.mktemp("rewards")
    yield all_artifacts(root)
    forget_package(root)


@pytest.fixture(scope="module")
def urls(artifacts: dict[str, Path]) -> Iterator[Running]:
    specs = [ModelSpec(name, str(folder)) for name, folder in artifacts.items()]
    with running([*specs, ModelSpec("both", "", members=("pair", "chat"), conservatism=0.5)]) as at:
        yield at


def _local(folder: Path, profile: str | None = None) -> LocalReward:
    return open_local_reward(folder, profile, torch.device("cpu"))


def _close(found: Sequence[float | None], expected: Sequence[float | None]) -> None:
    assert [f is None for f in found] == [e is None for e in expected]
    assert [f for f in found if f is not None] == pytest.approx(
        [e for e in expected if e is not None], abs=1e-5
    )


@pytest.mark.parametrize("profile", ["mixed", "careful"])
@pytest.mark.parametrize("name", NAMES)
def test_local_and_served_scores_are_equal(
    artifacts: dict[str, Path], urls: Running, name: str, profile: str
) -> None:
    local = _local(artifacts[name], profile).score(CONVERSATIONS)
    with Client(urls.grpc) as client:
        _close(local, RemoteReward(client, name, profile).score(CONVERSATIONS))
    assert [i for i, score in enumerate(local) if score is None][:2] == [1, 5]
    assert len({round(s, 4) for s in local if s is not None}) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_a_local_score_does_not_depend_on_its_neighbours(artifacts: dict[str, Path], name: str) -> None:
    reward = _local(artifacts[name])
    _close([reward.score([c])[0] for c in CONVERSATIONS], reward.score(CONVERSATIONS))


def test_an_ensemble_of_artifacts_is_the_services_own(artifacts: dict[str, Path], urls: Running) -> None:
    source = ScoreSource(
        artifacts=(str(artifacts["pair"]), str(artifacts["chat"])), profile="mixed", conservatism=0.5
    )
    with open_reward(source, torch.device("cpu")) as both, Client(urls.rest) as client:
        found = both.score(CONVERSATIONS)
        assert both.identity["name.1"] == "chat"
        _close(found, RemoteReward(client, "both", "mixed").score(CONVERSATIONS))
    mean = [_local(artifacts[n], "mixed").score(CONVERSATIONS[:1])[0] or 0.0 for n in ("pair", "chat")]
    assert found[0] is not None
    assert found[0] < sum(mean) / 2 - 0.01


def test_the_conservative_ensemble_by_hand(artifacts: dict[str, Path]) -> None:
    ensemble = EnsembleReward((_local(artifacts["pair"]),) * 3, 2.0)
    scores = [Spread(1.0, 0.0), Spread(2.0, 3.0), Spread(6.0, 0.0)]
    assert conservative(scores, ensemble) == pytest.approx(3.0 - 2.0 * (7.0 + 9.0 / 9.0) ** 0.5)
    assert conservative(scores[:2], ensemble) is None


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_the_same_run_with_a_local_and_a_remote_reward_is_the_same_trajectory(
    artifacts: dict[str, Path], urls: Running, policy_folder: Path, tmp_path: Path, wire: str
) -> None:
    config = config_of(policy_folder, scores=replace(config_of(policy_folder).scores, missing_eos="subtract"))
    sources = (
        ScoreSource(artifacts=(str(artifacts["chat"]),), profile="mixed"),
        ScoreSource(url=getattr(urls, wire), model="chat", profile="mixed"),
    )
    states, logs = [], []
    for number, source in enumerate(sources):
        (tmp_path / str(number)).mkdir()
        with open_reward(source, torch.device("cpu")) as reward:
            job = job_of(config, tmp_path / str(number), reward)
            logs.append(run(job))
            states.append(trained_state(job.networks.learner))
    start = trained_state(job_of(config, tmp_path).networks.learner)
    assert max(float((states[0][k] - start[k]).abs().max()) for k in start) > 1e-3
    for name, weights in states[0].items():
        torch.testing.assert_close(states[1][name], weights, atol=1e-5, rtol=0)
    for here, there in zip(*logs, strict=True):
        assert there["objective/score"] == pytest.approx(here["objective/score"], abs=1e-5)
        assert there["objective/kl"] == pytest.approx(here["objective/kl"], rel=1e-4, abs=1e-5)
        assert here["objective/score_std"] > 0.05


def test_one_refused_response_costs_no_other_its_score() -> None:
    def reward(_prompt: Any, response: str) -> float:
        return float(len(response))

    answer = reward_handler(reward)

    def handle(verb: Any, payload: Any) -> Any:
        if verb == "score":
            for i, item in enumerate(payload["items"]):
                if "bad" in item["response"]:
                    raise guerdon.InvalidInput("no token to score", param=f"items[{i}].response")
        return answer(verb, payload)

    with Client(MockTransport(handle), chunk_size=2) as client:
        texts = ("one", "bad", "three", "", "very bad", "seven!!")
        found = RemoteReward(client).score([Conversation.of("p", t) for t in texts])
    assert found == [3.0, None, 5.0, None, None, 7.0]


def test_a_response_that_comes_often_is_refused_once_for_all() -> None:
    """What a policy that fell silent says; too long is told of each, as a prompt may count there."""
    answer, asked = reward_handler(lambda _prompt, response: float(len(response))), []

    def handle(verb: Any, payload: Any) -> Any:
        if verb == "score":
            asked.append(len(payload["items"]))
            for i, item in enumerate(payload["items"]):
                if item["response"] == " ":
                    raise guerdon.InvalidInput("no token to score", param=f"items[{i}].response")
                if item["response"] == "long" and item["messages"][0]["content"] != "p":
                    raise guerdon.InputTooLong("too long", param=f"items[{i}].response")
        return answer(verb, payload)

    texts = (("p", " "), ("p", "long"), ("q", "long"), ("q", " "), ("p", "ok"), ("p", " "))
    with Client(MockTransport(handle)) as client:
        reward = RemoteReward(client)
        asked.clear()
        found = reward.score([Conversation.of(prompt, text) for prompt, text in texts])
    assert found == [None, 4.0, None, None, 2.0, None]
    assert asked == [6, 3, 2]


def test_a_refused_prompt_stops_the_run() -> None:
    answer = reward_handler(lambda _prompt, _response: 0.0)

    def handle(verb: Any, payload: Any) -> Any:
        if "robot" in str(payload):
            raise guerdon.InvalidInput("bad role", param="items[0].messages[0].role")
        return answer(verb, payload)

    with Client(MockTransport(handle)) as client:
        reward = RemoteReward(client)
        with pytest.raises(guerdon.InvalidInput, match="bad role"):
            reward.score([Conversation((Message("robot", "p"),), "r")])


def test_a_service_that_stumbles_is_asked_again() -> None:
    failures: list[guerdon.GuerdonError] = []
    answer = reward_handler(lambda _prompt, response: float(len(response)))

    def handle(verb: Any, payload: Any) -> Any:
        if failures:
            raise failures.pop()
        return answer(verb, payload)

    with Client(MockTransport(handle)) as client:
        reward = RemoteReward(client)
        failures += [guerdon.Overloaded("full", retry_after_s=0.0), guerdon.ConnectionFailed("gone")]
        assert reward.score([Conversation.of("p", "four")]) == [4.0]
    assert not failures


def test_other_weights_under_the_same_name_stop_the_run() -> None:
    digest = "0" * 64

    def handle(verb: Any, payload: Any) -> Any:
        reply = reward_handler(lambda _p, _r: 1.0)(verb, payload)
        if verb == "score":
            reply = reply | {"model": reply["model"] | {"digest": digest}}
        return reply

    with Client(MockTransport(handle)) as client:
        reward = RemoteReward(client)
        assert reward.score([Conversation.of("p", "r")]) == [1.0]
        digest = "1" * 64
        with pytest.raises(InvalidInput, match="other weights"):
            reward.score([Conversation.of("p", "r")])


def test_what_is_no_reward_artifact_is_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"holds no manifest\.json"):
        _local(tmp_path)
    policy = Manifest("p", "1", (), {}, 64, kind="policy")
    (tmp_path / "manifest.json").write_text(to_json(policy), "utf-8")
    with pytest.raises(InvalidInput, match="is a policy"):
        _local(tmp_path)
    with pytest.raises(InvalidInput, match="profile"):
        _local(artifacts["pair"], "absent")
    xlmr = plain_artifact(tmp_path / "xlmr", "xlm_roberta", encoding="pair")
    with pytest.raises(InvalidInput, match=r"reward\.url"):
        _local(xlmr)


def test_an_adapter_that_lost_its_head_is_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "headless"
    shutil.copytree(artifacts["adapter"], folder)
    shutil.rmtree(folder / "adapter")
    with pytest.raises(InvalidInput, match="was changed after its manifest was written"):
        _local(folder)
    sealed = from_json((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(to_json(replace(sealed, digest="")), "utf-8")
    with pytest.raises(InvalidInput, match=r"holds no classifier\.(weight|bias)"):
        _local(folder)
