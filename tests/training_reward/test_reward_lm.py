"""A reward model on a language model, from the config to the service that serves it."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)

from guerdon_service.app.loader import load_model
from guerdon_service.backends.families import FAMILIES
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_training.cli import RECIPES, train_command
from guerdon_training.config_file import build_config
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.encode import Example
from guerdon_training.policy.load import load_tokenizer
from guerdon_training.policy.pairs import ExamplePair
from guerdon_training.policy.reward_model import SERVED, load_reward_lm
from guerdon_training.policy.rows import pack
from guerdon_training.policy.scored_pairs import encode_pair, pair_scores, score_batch, service_encoder
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.ppo.reward_text import encoder_of
from guerdon_training.reward_lm import reward_terms, train_reward_lm
from guerdon_training.reward_lm_config import RewardLmConfig, RewardLoss, check_precision, served_form
from guerdon_training.yaml_text import parse_yaml
from tests.docs.code_blocks import DOCS, blocks_of
from tests.tiny import DECODERS, tiny
from tests.training_policy.conftest import here, tiny_lm
from tests.training_policy.runs import check_goes_on, check_refused, replaced
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


@pytest.mark.parametrize(
    ("is_fsdp2", "precision", "refused"), [(True, "bf16", True), (True, "no", False), (False, "bf16", False)]
)
def test_fsdp_in_half_precision_is_refused(is_fsdp2: bool, precision: str, refused: bool) -> None:
    launched: Any = SimpleNamespace(is_fsdp2=is_fsdp2, mixed_precision=precision)
    with pytest.raises(InvalidInput, match="--mixed_precision is bf16") if refused else nullcontext():
        check_precision(launched)


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


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("seed: 5", "seed: 5\nlerning_rate: 1", "lerning_rate is unknown"),
        ("epochs: 2", "epochs: 0", r"optim\.epochs must be at least 1"),
        ("max_tokens: 96", "max_tokens: 10", r"no pair of train\.jsonl fits max_tokens = 10; raise it"),
        ("max_tokens: 96", "max_tokens: 7", "max_tokens must be at least 8"),
        ("max_tokens: 96", "max_tokens: 513", "max_tokens is 513, but the base reads 512 at most; lower it"),
        ("attribute: politeness", 'attribute: ""', "attribute must not be empty"),
        ("attribute: politeness", "attribute: training", "attribute must be none of training, calib"),
        ("optim:", "loss:\n  flip_rate: 0.5\noptim:", r"loss\.flip_rate must be in \[0, 0\.5\)"),
        ("optim:", "loss:\n  centring: -1.0\noptim:", r"loss\.centring must be at least 0"),
        ("rank: 4", "rank: 4\n  target_modules: [nope]", r"names 'nope'; .* have down_proj, g"),
        ("test: test.jsonl", "test: valid.jsonl", r"valid\.jsonl \(record 1-0\) share a prompt"),
        ("train: train.jsonl", "train: missing.jsonl", "missing.jsonl does not exist"),
        ('base: "', 'base: "no', "is neither a folder nor an installed package"),
    ],
)
def test_a_config_that_cannot_be_used_stops_it_before_anything_is_written(
    here: Path, tiny_lm: Path, old: str, new: str, match: str
) -> None:
    check_refused(train_reward_lm, replaced(prepare(here, tiny_lm), old, new), match)


def test_a_base_that_the_service_could_not_serve_is_refused(here: Path, tiny_lm: Path) -> None:
    assert {kind for kind, family in FAMILIES.items() if family.causal} == set(SERVED)
    base = here / "base"
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=640)).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_lm).save_pretrained(base)
    said = r"base is a gpt2, which the service could not serve .* one of llama"
    check_refused(train_reward_lm, prepare(here, base), said)


def test_a_classifier_with_several_outputs_is_refused_before_the_data_is_read(
    here: Path, tiny_lm: Path
) -> None:
    base = here / "base"
    config = AutoConfig.from_pretrained(tiny_lm, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_lm).save_pretrained(base)
    path = prepare(here, base)
    (here / "train.jsonl").write_text("{}\n", "utf-8")
    check_refused(
        train_reward_lm, path, "base is a classifier with 3 outputs, and reward-lm trains one score"
    )


def test_a_conversation_that_the_template_refuses_is_named(here: Path) -> None:
    base = build_lm(here / "base", family="gemma2")  # which takes no system turn
    config = prepare(here, base)
    lines = (here / "train.jsonl").read_text("utf-8").splitlines()
    record = json.loads(lines[2])
    record["prompt"].insert(0, {"role": "system", "content": "Be kind."})
    (here / "train.jsonl").write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:]]), "utf-8")
    with pytest.raises(InvalidInput, match=r"refuses the conversation of train\.jsonl:3 \(System role"):
        train_reward_lm(config)


def test_a_clock_in_the_template_is_stopped_where_it_is_served(here: Path, tiny_lm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm)
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}" + template
    values = parse_yaml(prepare(here, tiny_lm).read_text("utf-8"))
    form = served_form(build_config(RewardLmConfig, values))
    encode = service_encoder(form, tokenizer)
    assert tokenizer.chat_template == "{{ '26 Jul 2024' }}" + template
    assert encode(TEXTS[0]) is not None
    tokenizer.chat_template = "{{ strftime_now(format) }}" + template
    with pytest.raises(InvalidInput, match="so its date cannot be fixed"):
        service_encoder(form, tokenizer)


def test_pairs_that_calibrate_nothing_leave_no_artifact(here: Path, tiny_lm: Path) -> None:
    config = prepare(here, tiny_lm)
    lines = [json.loads(x) for x in (here / "valid.jsonl").read_text("utf-8").splitlines()]
    (here / "valid.jsonl").write_text("\n".join(json.dumps(x) for i, x in enumerate(lines) if i % 5 != 4))
    with pytest.raises(GuerdonError, match="must be ordered better than chance and hold some errors"):
        train_reward_lm(config)  # it makes no error on them
    assert not (here / "artifact/manifest.json").exists()


def test_the_config_of_the_page_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [b for b in blocks_of(DOCS / "pipeline.md") if "base: models/smollm2" in b.text]
    config = build_config(RewardLmConfig, parse_yaml(block.text))
    assert served_form(config).max_tokens == config.max_tokens
    with pytest.raises(SystemExit):
        train_command(["--help"])
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in RECIPES)
    assert "\n  reward-lm  a reward model on a language model, from preference pairs" in told
