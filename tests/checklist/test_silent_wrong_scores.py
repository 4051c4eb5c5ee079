"""The twelve ways in which a reward service gives a wrong score and says nothing, end to end.

Each test goes from a model folder on disk through the real loader, tokenizer, engine, cache and torch
back end, and compares with plain `transformers`.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from guerdon_service.app.loader import load_model
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.backends.load import load_classifier
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.manifest import to_json
from guerdon_service.core.query import Options, RankQuery, ScoreQuery
from guerdon_service.core.result import Score
from guerdon_service.scoring.service import ScoringService
from guerdon_service.tokenization.encoder import load_encoder
from tests.backends.artifacts import edit_config
from tests.checklist.oracle import ids_of, raw_scores
from tests.fakes import running_service
from tests.tiny import ARCHS, DECODERS, build_tiny, tiny

CONVERSATIONS = tuple(
    Conversation.of(prompt, response)
    for prompt, response in (
        ("What is the capital of France?", "Paris."),
        ("What is the capital of France?", "I would rather not say, " * 6),
        ("Explain how a reward model ranks two answers. " * 3, "It scores each one."),
        ("def add(a, b):", "    return a + b\n"),
    )
)
TOLERANCE = 1e-5


@asynccontextmanager
async def serving(folder: Path, dtype: str = "float32") -> AsyncIterator[ScoringService]:
    async with running_service(ModelSpec("m", str(folder), dtype=dtype), load=load_model) as service:
        yield service


def score(folder: Path, *conversations: Conversation, dtype: str = "float32") -> list[Score]:
    async def ask() -> list[Score]:
        async with serving(folder, dtype) as service:
            return list((await service.score(ScoreQuery(conversations))).scores)

    return asyncio.run(ask())


def own_copy(arch: str, tmp_path: Path, num_labels: int = 1) -> Path:
    return build_tiny(arch, tmp_path / arch, num_labels=num_labels)


def assert_equals_transformers(folder: Path, conversations: tuple[Conversation, ...] = CONVERSATIONS) -> None:
    for conversation, got in zip(conversations, score(folder, *conversations), strict=True):
        expected = raw_scores(folder, conversation)
        assert list(got.raw.values()) == pytest.approx(expected, abs=TOLERANCE, rel=TOLERANCE)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_whole_path_equals_transformers(arch: str) -> None:
    assert_equals_transformers(tiny(arch))


@pytest.mark.parametrize(
    "problem", ["regression", "single_label_classification", "multi_label_classification"]
)
def test_01_no_activation_is_ever_applied(problem: str, tmp_path: Path) -> None:
    folder = own_copy("llama", tmp_path, num_labels=2)
    edit_config(folder, problem_type=problem)
    assert_equals_transformers(folder)
    values = [v for s in score(folder, *CONVERSATIONS) for v in s.raw.values()]
    assert min(values) < 0 or max(values) > 1  # not a probability


def test_02_pad_equal_to_eos_pools_the_token_that_transformers_pools() -> None:
    folder = tiny("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert int(ids_of(folder, CONVERSATIONS[0])["input_ids"][0, -1]) == tokenizer.eos_token_id
    assert_equals_transformers(folder)


def test_02b_no_pad_token_at_all_pools_the_last_token() -> None:
    folder = tiny("mistral")
    assert AutoTokenizer.from_pretrained(folder).pad_token_id is None
    assert_equals_transformers(folder)
    many = score(folder, *CONVERSATIONS)
    assert [score(folder, c)[0].raw for c in CONVERSATIONS] == [s.raw for s in many]


@pytest.mark.parametrize("arch", ["llama", "gemma2"])
def test_03_the_bos_is_there_exactly_once(arch: str) -> None:
    folder = tiny(arch)
    bos = AutoTokenizer.from_pretrained(folder).bos_token_id
    encoded = load_encoder(read_artifact(str(folder))).encode(CONVERSATIONS[0], "response")
    assert list(encoded.input_ids).count(bos) == 1 and encoded.input_ids[0] == bos


@pytest.mark.parametrize("arch", DECODERS)
def test_04_a_missing_template_is_refused_not_guessed(arch: str, tmp_path: Path) -> None:
    folder = own_copy(arch, tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InvalidInput, match="template"):
        load_model(ModelSpec("m", str(folder)))


@pytest.mark.parametrize("arch", ["llama", "bert"])
def test_05_truncation_never_cuts_the_response_and_is_reported(arch: str) -> None:
    folder = tiny(arch)
    long = Conversation.of("river " * 2000, "the answer is at the end")
    encoder = load_encoder(read_artifact(str(folder)))
    whole, cut = (encoder.encode(c, "response") for c in (Conversation.of("river", long.response), long))
    tail = whole.num_tokens - whole.prefix_len
    assert np.array_equal(whole.input_ids[-tail:], cut.input_ids[-tail:])
    assert [s.truncated for s in score(folder, long, CONVERSATIONS[0])] == [True, False]
    with pytest.raises(InputTooLong):
        encoder.encode(Conversation.of("river", "river " * 2000), "response")


@pytest.mark.parametrize("arch", ["llama", "qwen2", "bert"])
def test_06_left_padding_changes_nothing(arch: str, tmp_path: Path) -> None:
    folder = own_copy(arch, tmp_path)
    before = score(folder, *CONVERSATIONS)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left"}))
    assert [s.raw for s in score(folder, *CONVERSATIONS)] == [s.raw for s in before]


def test_07_a_lost_head_refuses_to_load(tmp_path: Path) -> None:
    folder = own_copy("qwen3", tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidInput, match=r"hold no score\.weight; a random one would be served"):
        load_model(ModelSpec("m", str(folder)))


def test_07b_the_normalisation_of_the_config_is_not_ignored(tmp_path: Path) -> None:
    folder = own_copy("qwen2", tmp_path)
    edit_config(folder, mean=0.25, std=2.0)
    got = score(folder, *CONVERSATIONS)
    for one in got:
        assert one.reward == pytest.approx((one.raw["reward"] - 0.25) / 2.0, abs=1e-12)


@pytest.mark.parametrize("arch", ["llama", "bert"])
def test_08_the_head_is_fp32_whatever_the_dtype(arch: str) -> None:
    artifact = read_artifact(str(tiny(arch)))
    model = load_classifier(artifact, torch.bfloat16, "cpu")
    heads = [p for n, p in model.named_parameters() if n.startswith(("score", "classifier", "pooler"))]
    assert heads and all(p.dtype == torch.float32 for p in heads)
    assert any(p.dtype == torch.bfloat16 for p in model.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("arch", ["llama", "bert", "gemma3"])
def test_09_batch_order_and_verb_change_no_bit(arch: str, dtype: str) -> None:
    prompt = CONVERSATIONS[0].prompt
    answers = ("Paris.", "Lyon, " * 9, " paris", "P")

    async def ask() -> None:
        async with serving(tiny(arch), dtype) as service:
            one_by_one = [
                (await service.score(ScoreQuery((Conversation(prompt, a),), Options(tenant=f"t{i}")))).scores[
                    0
                ]
                for i, a in enumerate(answers)
            ]
            strangers = tuple(Conversation(prompt, a) for a in reversed(answers)) + CONVERSATIONS
            mixed = (await service.score(ScoreQuery(strangers, Options(tenant="mixed")))).scores
            ranked = (await service.rank(RankQuery(prompt, answers, options=Options(tenant="rank")))).results
            again = (await service.rank(RankQuery(prompt, answers, options=Options(tenant="rank")))).results
        assert [s.raw for s in mixed[: len(answers)]] == [s.raw for s in reversed(one_by_one)]
        assert {r.index: r.score.raw for r in ranked} == {i: s.raw for i, s in enumerate(one_by_one)}
        assert all(r.score.cached for r in again) and not any(r.score.cached for r in ranked)
        assert [r.score.raw for r in again] == [r.score.raw for r in ranked]

    asyncio.run(ask())


def test_10_changed_weights_never_meet_the_old_cache(tmp_path: Path) -> None:
    folder = own_copy("bert", tmp_path)

    async def ask() -> tuple[Score, Score]:
        async with serving(folder) as service:
            before = (await service.score(ScoreQuery(CONVERSATIONS[:1]))).scores[0]
            await service.unload_model("m")
            weights = load_file(folder / "model.safetensors")
            weights["classifier.bias"] += 1.0
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
            await service.load_model(ModelSpec("m", str(folder)))
            return before, (await service.score(ScoreQuery(CONVERSATIONS[:1]))).scores[0]

    before, after = asyncio.run(ask())
    assert not after.cached
    assert after.reward == pytest.approx(before.reward + 1.0, abs=1e-5)


def test_11_heads_keep_the_order_of_their_labels(tmp_path: Path) -> None:
    folder = own_copy("bert", tmp_path, num_labels=3)
    labels = {"2": "honest", "0": "helpful", "1": "harmless"}
    edit_config(folder, id2label=labels, label2id={v: int(k) for k, v in labels.items()})
    got = score(folder, CONVERSATIONS[0])[0].raw
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    expected = dict(zip(("helpful", "harmless", "honest"), raw_scores(folder, CONVERSATIONS[0]), strict=True))
    assert model.config.num_labels == 3 and got == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("arch", ["qwen2", "llama"])
def test_12_white_space_is_the_users(arch: str) -> None:
    variants = tuple(Conversation.of("Say it.", r) for r in ("Yes.", " Yes.", "Yes. ", "Yes.\n", "\n\nYes."))
    assert_equals_transformers(tiny(arch), variants)
    assert len({tuple(s.raw.values()) for s in score(tiny(arch), *variants)}) == len(variants)


def test_a_manifest_that_claims_another_pooling_is_served_as_it_says(tmp_path: Path) -> None:
    """With pad == eos the last token is the EOS itself; a manifest may ask for it: another score."""
    folder = own_copy("llama", tmp_path)
    plain = score(folder, CONVERSATIONS[0])[0]
    manifest = replace(read_artifact(str(folder)).manifest, pooling="last", digest="", inferred=())
    copy = shutil.copytree(folder, tmp_path / "last")
    (copy / "manifest.json").write_text(to_json(manifest))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model.base_model(**ids_of(folder, CONVERSATIONS[0])).last_hidden_state[0, -1]
        expected = float(model.score(hidden))
    last = score(copy, CONVERSATIONS[0])[0]
    assert last.reward == pytest.approx(expected, abs=TOLERANCE) and last.reward != plain.reward
