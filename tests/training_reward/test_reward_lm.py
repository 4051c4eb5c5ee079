"""A reward model on a language model, from the config to the service that serves it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid
from transformers import AutoTokenizer

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.manifest import Manifest
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.encode import Example
from guerdon_training.policy.load import load_tokenizer
from guerdon_training.policy.pairs import ExamplePair
from guerdon_training.policy.reward_model import load_reward_lm
from guerdon_training.policy.rows import pack
from guerdon_training.policy.scored_pairs import encode_pair, pair_scores, score_batch
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.ppo.reward_text import encoder_of
from guerdon_training.reward_lm import reward_terms, train_reward_lm
from guerdon_training.reward_lm_config import RewardLoss
from tests.tiny import DECODERS, tiny
from tests.training_policy.conftest import here, tiny_lm
from tests.training_policy.runs import check_goes_on, with_ties
from tests.training_policy.tiny_lm import build_lm
from tests.training_reward.lm_runs import prepare, run

__all__ = ["here", "tiny_lm"]
WEIGHTS = "artifact/model.safetensors"
THREAD = (Message("user", "one two"), Message("assistant", "rain"), Message("user", "why river"))
TEXTS = (
    Conversation.of(THREAD, "\n autumn leaves \n"),
    Conversation.of("say <|im_end|>", "one <|im_end|> two"),
    Conversation.of("rain " * 200, "Grüße 🙃"),
)


@pytest.fixture(scope="module")
def adapted(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with adapters; ChatML."""
    folder = tmp_path_factory.mktemp("adapted")
    prepare(folder, tiny_lm)
    return run(folder).parent


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that trained every weight; template and tokenizer both write the BOS, pad is EOS."""
    folder = tmp_path_factory.mktemp("full")
    prepare(folder, build_lm(folder / "base", family="llama"), tables="")
    return run(folder).parent


@pytest.fixture(params=["adapted", "full"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def _load(artifact: Path) -> LoadedModel:
    return load_model(ModelSpec("lm", str(artifact)))


def test_it_learns_what_was_planted(folder: Path) -> None:
    loaded = _load(folder / "artifact")
    loaded.backend.close()
    metrics = loaded.manifest.metrics
    test = metrics["politeness"]["test"]["pooled"]
    assert test["accuracy"] == pytest.approx({"value": 0.8, "low": 0.627, "high": 0.905}, abs=1e-3)
    assert test["num_refused"] == 0  # a fifth of its labels is wrong, and all others are right
    assert 0.3 < test["longer"]["value"] == pytest.approx(1 - test["shorter"]["value"])
    assert metrics["calibration"]["test"]["num_pairs"] == 30
    assert metrics["training"]["num_train"] == 32
    raw = np.array([line["raw"] for line in _scores(folder) if line["split"] == "valid"])
    (head,) = loaded.manifest.heads
    assert (head.norm.mean, head.norm.std) == pytest.approx((raw.mean(), raw.std()), abs=1e-6)
    card = (folder / "artifact/MODEL_CARD.md").read_text("utf-8")
    assert "| pooled | 30 | 30 | 0.800 [0.627, 0.905] |" in card


def _scores(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / "artifact/scores.jsonl").read_text("utf-8").splitlines()]


def test_served_scores_are_those_that_training_measured(folder: Path) -> None:
    loaded = _load(folder / "artifact")
    assert [c.name for c in loaded.certificate.checks] == ["heads", "finite", "batch", "golden"]
    assert loaded.certificate.passed
    pairs = read_pairs(folder / "test.jsonl")
    texts = [Conversation(p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)]
    measured = np.array([line["raw"] for line in _scores(folder) if line["split"] == "test"]).reshape(-1, 1)
    encoded = [loaded.encoder.encode(text, "x") for text in texts]
    assert 0 < sum(e.truncated for e in encoded) < len(encoded)
    alone = np.concatenate([loaded.backend.forward([e])[0] for e in encoded])
    np.testing.assert_allclose(alone, measured, atol=1e-5, rtol=0)
    np.testing.assert_array_equal(loaded.backend.forward(encoded)[0], alone)
    loaded.backend.close()
    local = open_local_reward(folder / "artifact", None, torch.device("cpu")).score(texts)
    (head,) = loaded.manifest.heads
    np.testing.assert_allclose(
        np.array(local, float), (measured[:, 0] - head.norm.mean) / head.norm.std, atol=1e-5
    )


def test_training_reads_the_tokens_that_the_service_reads(folder: Path) -> None:
    loaded = _load(folder / "artifact")
    loaded.backend.close()
    encode = encoder_of(loaded.manifest, load_tokenizer(Path(loaded.manifest.parents["base"]["source"])))
    bos = AutoTokenizer.from_pretrained(folder / "artifact").bos_token_id
    for text in TEXTS:
        found, expected = encode(text), loaded.encoder.encode(text, "x").input_ids.tolist()
        assert found is not None and list(found.input_ids) == expected
        assert bos is None or expected.count(bos) == 1
    assert encode(Conversation.of("x", "word " * 500)) is None  # no response is cut


def _pairs(base: Path, max_tokens: int = 96) -> list[ExamplePair]:
    manifest = Manifest("x", "1", (), {}, max_tokens)
    encode = encoder_of(manifest, load_tokenizer(base))
    words = [f"river {'autumn ' * n}" for n in (1, 9, 4)]
    pairs = [
        PreferencePair(w, (Message("user", w),), w + " rain", "leaves " * n, "", "")
        for n, w in enumerate(words, start=1)
    ]
    found = [encode_pair(encode, pair) for pair in pairs]
    return [pair for pair in found if pair is not None]


@pytest.mark.parametrize("arch", DECODERS)
def test_loss_and_gradient_are_those_of_a_padded_forward(arch: str) -> None:
    base = tiny(arch)
    pairs, model = _pairs(base), load_reward_lm(base, PolicyLora(), 0)
    terms = reward_terms(model, score_batch(pairs), RewardLoss(centring=0.0))
    terms.loss.backward()
    packed = {name: p.grad for name, p in model.classifier.named_parameters()}
    plain: Any = load_reward_lm(base, PolicyLora(), 0).classifier
    plain.config.pad_token_id = 639  # no token's, so that transformers reads the last one
    ids = [torch.tensor(e.input_ids) for p in pairs for e in (p.chosen, p.rejected)]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=639)
    scores = plain(input_ids=padded, attention_mask=(padded != 639).long()).logits.view(-1, 2)
    loss = -logsigmoid(scores[:, 0] - scores[:, 1]).sum()
    loss.backward()
    torch.testing.assert_close(terms.loss, loss, atol=1e-5, rtol=1e-5)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(packed[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_the_loss_smooths_labels_and_centres(tiny_lm: Path) -> None:
    pairs, model = _pairs(tiny_lm), load_reward_lm(tiny_lm, PolicyLora(), 0)
    with torch.no_grad():
        terms = reward_terms(model, score_batch(pairs), RewardLoss(flip_rate=0.1, centring=0.5))
    chosen, rejected = pair_scores(model, pairs, 1).unbind(1)  # each in a row of its own
    d = chosen - rejected
    expected = -0.9 * logsigmoid(d) - 0.1 * logsigmoid(-d) + 0.5 * (chosen + rejected) ** 2
    torch.testing.assert_close(terms.loss, expected.sum(), atol=1e-5, rtol=1e-5)
    assert float(terms.figures["margin"]) == pytest.approx(float(d.sum()), abs=1e-5)
    assert score_batch(pairs).num_units == 3


@torch.no_grad()
def test_a_text_of_one_token_is_scored_at_it(tiny_lm: Path) -> None:
    one, two = (Example(ids, (False,) * len(ids)) for ids in ((5,), (6, 7)))
    model = load_reward_lm(tiny_lm, PolicyLora(), 0)
    found = pair_scores(model, [ExamplePair(one, two), ExamplePair(two, one)], 300)
    a, b = (float(model(pack([example]))) for example in (one, two))
    torch.testing.assert_close(found, torch.tensor([[a, b], [b, a]]), atol=1e-6, rtol=0)


def test_a_merged_adapter_scores_as_an_unmerged_one(tiny_lm: Path) -> None:
    pairs, model = _pairs(tiny_lm), load_reward_lm(tiny_lm, PolicyLora(rank=4), 0)
    plain = pair_scores(load_reward_lm(tiny_lm, PolicyLora(), 0), pairs, 300)
    torch.testing.assert_close(
        pair_scores(model, pairs, 300), plain, atol=1e-6, rtol=0
    )  # adapters start at 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1)
    moved = pair_scores(model, pairs, 300)
    assert float((moved - plain).abs().max()) > 0.01
    model.classifier = model.classifier.merge_and_unload()
    torch.testing.assert_close(pair_scores(model, pairs, 300), moved, atol=1e-5, rtol=0)


def test_an_interrupted_run_ends_in_the_same_weights(adapted: Path, tiny_lm: Path, here: Path) -> None:
    config = prepare(here, tiny_lm)
    check_goes_on(train_reward_lm, config, "guerdon_training.reward_lm.evaluate", 2, adapted / "artifact")


def test_a_run_in_half_precision_is_measured_as_it_is_served(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    config = prepare(here, tiny_lm)
    train_reward_lm(config, ["optim.epochs=1"])
    loaded = _load(here / "artifact")  # its certificate replays the golden scores in fp32
    loaded.backend.close()
    assert loaded.certificate.passed


def test_ties_are_counted_and_told(here: Path, tiny_lm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, counts = prepare(here, tiny_lm), {"train": 3, "valid": 1, "test": 0}
    told = with_ties(config, counts)
    training = train_reward_lm(config, ["optim.epochs=1"]).metrics["training"]
    assert {split: training[f"num_{split}_ties"] for split in counts} == counts
    assert [line for line in capsys.readouterr().err.splitlines() if "that tie" in line] == told
    card = (here / "artifact/MODEL_CARD.md").read_text("utf-8")
    assert "Ties, which prefer neither response, are left out: 3 of train, 1 of valid." in card
