"""Direct preference optimisation from end to end on a tiny policy."""

import json
from math import log
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.cli import train_command
from guerdon_training.config_file import read_config
from guerdon_training.data import read_pairs
from guerdon_training.dpo import DpoConfig, dpo_terms, train_dpo
from guerdon_training.policy.config import PolicyLora, check_optim
from guerdon_training.policy.drift import DriftConfig, measure_drift
from guerdon_training.policy.encode import encode_prompt
from guerdon_training.policy.implicit_reward import read_implicit_reward
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.policy.logprobs import example_logprobs, row_logprobs
from guerdon_training.policy.objective import LossConfig, check_loss
from guerdon_training.policy.pairs import encode_pairs, pair_batch, pair_logprobs
from guerdon_training.policy.recipe import publish
from guerdon_training.policy.reference import as_reference
from guerdon_training.policy.rows import pack
from guerdon_training.sft import SftConfig
from tests.training_policy.runs import (
    LORA,
    check_counts_what_is_too_long,
    check_goes_on,
    check_refused,
    prepare_dpo,
    replaced,
    with_ties,
)
from tests.training_policy.tiny_lm import build_lm, pairs, write_jsonl

WEIGHTS = "artifact/model.safetensors"


@pytest.fixture(scope="module")
def trained(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder where the recipe ran through the command, with adapters."""
    folder = tmp_path_factory.mktemp("dpo")
    config = prepare_dpo(folder, tiny_lm)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["dpo", config.name]) == 0
    return folder


@pytest.fixture(scope="module")
def manifest(trained: Path) -> Manifest:
    return from_json((trained / "artifact/manifest.json").read_text("utf-8"))


def _log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(x) for x in (folder / "artifact/metrics.jsonl").read_text("utf-8").splitlines()]


def test_it_starts_at_the_reference_and_learns(trained: Path, manifest: Manifest) -> None:
    first = _log(trained)[0]
    assert first["loss"] == pytest.approx(log(2), abs=1e-6)
    assert [first[k] for k in ("margin", "chosen", "rejected")] == pytest.approx([0.0] * 3, abs=1e-5)
    test = manifest.metrics["test"]
    assert test["accuracy"] == 1.0
    assert test["loss"] < 0.5
    assert manifest.metrics["test_accuracy_interval"]["low"] > 0.5
    drift = manifest.metrics["drift"]
    assert drift["kl_k3"] > 0
    assert 1 <= drift["response_tokens"] <= 8


def test_plain_transformers_reproduces_the_margin(trained: Path, manifest: Manifest, tiny_lm: Path) -> None:
    """Policy and base, one unpadded row at a time, give the implicit reward of every test pair."""
    policy, base = (AutoModelForCausalLM.from_pretrained(f).eval() for f in (trained / "artifact", tiny_lm))
    tokenizer = AutoTokenizer.from_pretrained(trained / "artifact")
    implicit = read_implicit_reward(trained / "artifact")
    margins = []
    for pair in encode_pairs(tokenizer, read_pairs(trained / "test.jsonl"), 64):
        sums = []
        for example in (pair.chosen, pair.rejected):
            ids, n = torch.tensor([example.input_ids]), example.num_targets
            with torch.inference_mode():
                for model in (policy, base):
                    logs = torch.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
                    sums.append(logs.gather(1, ids[0, 1:, None])[-n:].sum())
        counts = torch.tensor([pair.chosen.num_targets, pair.rejected.num_targets])
        rewards = implicit.rewards(torch.stack(sums[0::2]), torch.stack(sums[1::2]), counts)
        margins.append(float(rewards[0] - rewards[1]))
    assert sum(margins) / len(margins) == pytest.approx(manifest.metrics["test"]["margin"], abs=1e-4)
    assert implicit.reference_sha256 == manifest.parents["base"]["weights_sha256"]


def test_an_adapter_switched_off_is_the_reference(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[torch.nn.Module] = []

    def keeping(recipe: object, model: torch.nn.Module, metrics: object) -> Manifest:
        pairs = encode_pairs(load_tokenizer(tiny_lm), read_pairs(Path("test.jsonl")), 64)
        row = pair_batch(pairs, torch.zeros(len(pairs), 2)).row
        with torch.no_grad():
            moved = row_logprobs(model, row)
            with as_reference(model, tiny_lm) as reference:
                assert reference is model
                off = row_logprobs(reference, row)
            assert torch.equal(off, row_logprobs(load_policy(tiny_lm, PolicyLora(), 0), row))
            assert not torch.allclose(off, moved, atol=1e-2)
            kept.append(model)
            sealed = publish(recipe, model, metrics)  # type: ignore[arg-type]
            merged = load_policy(here / "artifact", PolicyLora(), 0)
            torch.testing.assert_close(row_logprobs(merged, row), moved, atol=1e-5, rtol=0)
        return sealed

    monkeypatch.setattr("guerdon_training.dpo.publish", keeping)
    train_dpo(prepare_dpo(here, tiny_lm))
    assert isinstance(kept[0], peft.PeftModel)


def test_in_full_training_the_reference_is_the_base_as_it_was(here: Path, tiny_lm: Path) -> None:
    model = load_policy(tiny_lm, PolicyLora(), 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    pairs = encode_pairs(load_tokenizer(tiny_lm), read_pairs(_pairs_file(here, tiny_lm)), 64)
    with as_reference(model, tiny_lm) as reference:
        found = pair_logprobs(reference, pairs, 200)
    assert torch.equal(found, pair_logprobs(load_policy(tiny_lm, PolicyLora(), 0), pairs, 200))
    config = prepare_dpo(here, tiny_lm, tables="")
    replaced(config, "learning_rate: 1e-2", "learning_rate: 1e-3")
    metrics = train_dpo(config).metrics
    assert metrics["test"]["accuracy"] == 1.0
    assert metrics["drift"]["kl_k3"] > 0


def _pairs_file(here: Path, tiny_lm: Path) -> Path:
    prepare_dpo(here, tiny_lm)
    return here / "valid.jsonl"


def test_packed_pairs_give_what_each_response_gives_alone(here: Path, tiny_lm: Path) -> None:
    model = load_policy(tiny_lm, PolicyLora(), 0)
    pairs = encode_pairs(load_tokenizer(tiny_lm), read_pairs(_pairs_file(here, tiny_lm)), 64)
    with torch.no_grad():
        alone = torch.tensor(
            [[float(example_logprobs(model, pack([e]))) for e in (p.chosen, p.rejected)] for p in pairs]
        )
    torch.testing.assert_close(pair_logprobs(model, pairs, 300), alone, atol=1e-5, rtol=1e-6)


def test_the_terms_of_a_batch_are_sums_over_its_pairs(here: Path, tiny_lm: Path) -> None:
    model = load_policy(tiny_lm, PolicyLora(), 0)
    pairs = encode_pairs(load_tokenizer(tiny_lm), read_pairs(_pairs_file(here, tiny_lm)), 64)
    reference = torch.randn(len(pairs), 2, generator=torch.Generator().manual_seed(0)) - 60
    for loss in (LossConfig(), LossConfig("ipo", 0.3), LossConfig("hinge", 1.0, length_normalised=True)):
        with torch.no_grad():
            whole = dpo_terms(model, pair_batch(pairs, reference), loss)
            parts = [dpo_terms(model, pair_batch([p], reference[[i]]), loss) for i, p in enumerate(pairs)]
        total = torch.stack([p.loss for p in parts]).sum()
        torch.testing.assert_close(whole.loss, total, atol=1e-4, rtol=1e-5)


def test_an_interrupted_run_ends_in_the_same_weights(trained: Path, tiny_lm: Path, here: Path) -> None:
    config = prepare_dpo(here, tiny_lm)
    check_goes_on(train_dpo, config, "guerdon_training.dpo.dpo_terms", 20, trained / "artifact")


def test_reference_logprobs_are_computed_once_and_stale_ones_refused(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare_dpo(here, tiny_lm)
    stop = "guerdon_training.dpo.fit"
    with monkeypatch.context() as patch:
        patch.setattr(stop, _stopped)
        with pytest.raises(KeyboardInterrupt):
            train_dpo(config)
        stored = here / "artifact/reference.safetensors"
        before = stored.read_bytes()
        patch.setattr("guerdon_training.dpo.as_reference", _stopped)  # needed no second time
        with pytest.raises(KeyboardInterrupt):
            train_dpo(config)
        assert stored.read_bytes() == before
        other = build_lm(here / "other", seed=1)
        config.write_text(config.read_text().replace(str(tiny_lm), str(other)))
        with pytest.raises(InvalidInput, match="of another reference or of other data"):
            train_dpo(config)
        prepare_dpo(here, tiny_lm)
        lines = (here / "valid.jsonl").read_text().splitlines(keepends=True)
        (here / "valid.jsonl").write_text("".join(lines[:-1]))
        with pytest.raises(InvalidInput, match="of another reference or of other data"):
            train_dpo(config)


def _stopped(*_: object) -> None:
    raise KeyboardInterrupt


def test_only_the_named_sources_are_used(here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = prepare_dpo(here, tiny_lm)
    replaced(config, "optim:", "  sources: [other]\n  max_train: 5\noptim:")
    assert train_dpo(config).metrics["num_train"] == 5


def test_what_is_too_long_is_counted(here: Path, tiny_lm: Path) -> None:
    check_counts_what_is_too_long(train_dpo, prepare_dpo(here, tiny_lm))


def test_ties_are_counted_and_told(here: Path, tiny_lm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, counts = prepare_dpo(here, tiny_lm), {"train": 3, "valid": 0, "test": 2}
    told = with_ties(config, counts)
    metrics = train_dpo(config, ["optim.epochs=1"]).metrics
    assert {split: metrics[f"num_{split}_ties"] for split in counts} == counts
    assert metrics["num_train"] == 26
    assert [line for line in capsys.readouterr().err.splitlines() if "that tie" in line] == told


def test_a_prompt_in_two_splits_stops_it(here: Path, tiny_lm: Path) -> None:
    config = prepare_dpo(here, tiny_lm)
    (here / "test.jsonl").write_bytes((here / "valid.jsonl").read_bytes())
    said = r"valid\.jsonl \(record 1-0\) and test\.jsonl \(record 1-0\) share a prompt"
    check_refused(train_dpo, config, said)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        ("kind: sigmod", r"loss\.kind must be one of sigmoid"),
        ("beta: 0", r"loss\.beta must be above 0"),
        ("flip_rate: 0.1", r"loss\.flip_rate is used by conservative and robust alone"),
        ("kind: robust\n  flip_rate: 0.5", r"loss\.flip_rate must be in"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(here: Path, tiny_lm: Path, loss: str, match: str) -> None:
    check_refused(train_dpo, prepare_dpo(here, tiny_lm, tables=f"{LORA}loss:\n  {loss}\n"), match)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("drift.max_new_tokens=0", r"drift\.max_new_tokens must be at least 1"),
        ("drift.num_prompts=-1", r"drift\.num_prompts must be at least 0"),
        ("drift.max_new_tokens=64", r"no prompt of test\.jsonl leaves room for drift\.max_new"),
        ("max_tokens=8", r"no pair of train\.jsonl fits max_tokens = 8; raise it"),
        ("max_tokens=7", r"max_tokens must be at least 8"),
    ],
)
def test_a_setting_that_no_run_could_use_is_refused(
    here: Path, tiny_lm: Path, setting: str, match: str
) -> None:
    check_refused(train_dpo, prepare_dpo(here, tiny_lm), match, [setting])


def test_one_class_of_pairs_stops_before_the_first_step(here: Path, tiny_lm: Path) -> None:
    config = prepare_dpo(here, tiny_lm)
    same = [p | {"chosen": "yes", "rejected": "no"} for p in pairs(4, 0)]
    write_jsonl(here / "train.jsonl", same)
    check_refused(train_dpo, config, r"train\.jsonl: all 4 pairs from train\.jsonl:1 on prefer one")


def test_drift_is_zero_without_training_and_right_for_a_known_shift(tiny_lm: Path) -> None:
    tokenizer = load_tokenizer(tiny_lm)
    model = load_policy(tiny_lm, PolicyLora(), 0)
    prompts = [encode_prompt(tokenizer, (Message("user", f"what {i}"),)) for i in range(400)]
    config = DriftConfig(num_prompts=400, max_new_tokens=1)
    still = measure_drift(model, tiny_lm, tokenizer, prompts, config, seed=0, max_row_tokens=200)
    assert still["kl_k1"] == still["kl_k3"] == 0.0
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)  # the embedding, which is the head too: sharper logits
    moved = measure_drift(model, tiny_lm, tokenizer, prompts, config, seed=0, max_row_tokens=200)
    base = load_policy(tiny_lm, PolicyLora(), 0)
    exact = 0.0
    for length in {len(ids) for ids in prompts}:
        alike = torch.tensor([ids for ids in prompts if len(ids) == length])
        with torch.no_grad():
            p, q = (torch.log_softmax(m(input_ids=alike).logits[:, -1], -1) for m in (model, base))
        exact += float((p.exp() * (p - q)).sum())
    mean = exact / len(prompts)
    assert moved["kl_k3"] == pytest.approx(mean, rel=0.25)
    assert moved["kl_k1"] == pytest.approx(mean, abs=0.25)


def test_the_configs_that_come_with_guerdon_are_read() -> None:
    folder = Path(__file__).parents[2] / "training/configs"
    sft = read_config(folder / "sft_smollm2.yaml", SftConfig)
    dpo = read_config(folder / "dpo_smollm2.yaml", DpoConfig)
    check_optim(sft.optim)
    check_optim(dpo.optim)
    check_loss(dpo.loss)
    assert dpo.base == sft.output
