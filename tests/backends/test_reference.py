"""The back end against plain `transformers` in fp32, one unpadded row at a time."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from guerdon_service.backends.reference import reference_scores
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from tests.backends.artifacts import answers, artifact_of, edit_config, sequence, tiny_artifact
from tests.tiny import ARCHS, DECODERS, SLIDING_WINDOW, build_tiny, tiny

BATCH = [sequence(n, seed=n) for n in (2, 3, 8, 15, 16, 17, 18, 40, 150, 400)] + answers(30, (1, 20, 25))


def served(artifact: Artifact, batch: list[Encoded], dtype: str = "float32") -> np.ndarray:
    return TorchBackend.load(artifact, dtype=dtype).forward(batch)[0]


def plain(folder: Path, encoded: Encoded, **inputs: torch.Tensor) -> np.ndarray:
    """Nothing of ours: `transformers` loads the folder and scores one row with its default attention."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        ids = torch.from_numpy(encoded.input_ids.astype(np.int64))[None]
        return np.asarray(model(input_ids=ids, **inputs).logits)


@pytest.mark.parametrize("num_heads", [1, 3])
@pytest.mark.parametrize("arch", ARCHS)
def test_fp32_is_within_1e5_of_the_reference(arch: str, num_heads: int) -> None:
    artifact = tiny_artifact(arch, num_heads)
    expected = reference_scores(artifact, BATCH)
    assert expected.shape == (len(BATCH), num_heads)
    assert expected.std(axis=0).min() > 0.1, "scores that are all alike would prove nothing"
    np.testing.assert_allclose(served(artifact, BATCH), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("arch", ARCHS)
def test_half_precision_is_close_and_finite(arch: str, dtype: str) -> None:
    artifact = tiny_artifact(arch)
    expected = reference_scores(artifact, BATCH)
    scores = served(artifact, BATCH, dtype)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.abs(scores - expected).max() < 0.05 * np.ptp(expected)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_reference_is_transformers_itself(arch: str) -> None:
    encoded = sequence(45, 7)
    types = (torch.arange(45) >= encoded.prefix_len).long()[None]
    inputs = {"token_type_ids": types} if arch == "bert" else {}
    expected = plain(tiny(arch), encoded, **inputs)
    np.testing.assert_allclose(reference_scores(tiny_artifact(arch), [encoded]), expected, atol=1e-5)


@pytest.mark.parametrize(
    "problem_type", ["regression", "single_label_classification", "multi_label_classification"]
)
def test_no_activation_whatever_the_problem_type(problem_type: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama", num_labels=2), tmp_path / "model"))
    edit_config(folder, problem_type=problem_type)
    expected = reference_scores(tiny_artifact("llama", 2), BATCH)
    np.testing.assert_allclose(served(artifact_of(folder, 2), BATCH), expected, atol=1e-5)
    assert np.abs(expected).max() > 1, "a sigmoid or softmax would stay within [0, 1]"


def test_pad_equal_to_eos_pools_the_token_before_the_eos() -> None:
    artifact = tiny_artifact("llama")
    pad = 4  # <|eot_id|>
    body = sequence(20, 3)
    ended = Encoded(np.append(body.input_ids, np.int32(pad)), body.prefix_len, truncated=False)
    np.testing.assert_allclose(plain(tiny("llama"), ended), plain(tiny("llama"), body), atol=1e-5)
    np.testing.assert_allclose(served(artifact, [ended]), plain(tiny("llama"), ended), atol=1e-5)
    last = tiny_artifact("llama", pooling="last")
    assert abs(served(last, [ended]) - served(artifact, [ended])) > 1e-2
    np.testing.assert_allclose(served(last, [ended]), reference_scores(last, [ended]), atol=1e-5)


def test_a_response_of_pads_alone_pools_inside_the_prompt() -> None:
    ids = np.append(sequence(12, 3).input_ids, np.array([4, 4, 4], dtype=np.int32))
    encoded = Encoded(ids, 12, truncated=False)
    np.testing.assert_allclose(
        served(tiny_artifact("llama"), [encoded]), plain(tiny("llama"), encoded), atol=1e-5
    )


def test_no_pad_token_pools_the_last_token() -> None:
    encoded = sequence(33, 2)
    np.testing.assert_allclose(
        served(tiny_artifact("mistral"), [encoded, *BATCH])[:1], plain(tiny("mistral"), encoded), atol=1e-5
    )


def test_pad_tokens_inside_an_xlm_roberta_row_keep_their_positions() -> None:
    ids = sequence(20, 2).input_ids.copy()
    ids[7] = 1  # <pad>, written by the user
    encoded = Encoded(ids, 10, truncated=False)
    np.testing.assert_allclose(
        served(tiny_artifact("xlm_roberta"), [encoded]), plain(tiny("xlm_roberta"), encoded), atol=1e-5
    )


def test_token_types_reach_bert_only_in_the_pair_encoding() -> None:
    pair, template = tiny_artifact("bert"), tiny_artifact("bert", encoding="template")
    assert np.abs(served(pair, BATCH) - served(template, BATCH)).max() > 1e-3
    np.testing.assert_allclose(served(template, BATCH), reference_scores(template, BATCH), atol=1e-5)


@pytest.mark.parametrize("arch", ["modernbert", "gemma2", "gemma3"])
def test_tokens_outside_the_sliding_window_are_seen_by_full_layers_alone(arch: str, tmp_path: Path) -> None:
    """With a wide window the score differs: the tests above do cross the small one."""
    folder = Path(shutil.copytree(tiny(arch), tmp_path / "wide"))
    edit_config(folder, **({"local_attention": 512} if arch == "modernbert" else {"sliding_window": 512}))
    wide = artifact_of(folder, encoding=tiny_artifact(arch).manifest.encoding)
    encoded = sequence(4 * SLIDING_WINDOW, 3)
    narrow_score = served(tiny_artifact(arch), [encoded])
    assert abs(served(wide, [encoded]) - narrow_score) > 1e-4
    np.testing.assert_allclose(served(wide, [encoded]), reference_scores(wide, [encoded]), atol=1e-5)


@pytest.mark.parametrize("arch", ["mistral", "qwen2"])
def test_a_window_in_the_config_of_a_decoder_is_obeyed(arch: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny(arch), tmp_path / "windowed"))
    layers = {"layer_types": ["sliding_attention", "full_attention"]} if arch == "qwen2" else {}
    edit_config(folder, sliding_window=8, use_sliding_window=True, max_window_layers=0, **layers)
    artifact = artifact_of(folder)
    np.testing.assert_allclose(served(artifact, BATCH), reference_scores(artifact, BATCH), atol=1e-5)
    assert np.abs(served(artifact, BATCH) - served(tiny_artifact(arch), BATCH)).max() > 1e-3


def test_modernbert_mean_pooling(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("modernbert"), tmp_path / "mean"))
    edit_config(folder, classifier_pooling="mean")
    artifact = artifact_of(folder, encoding="pair")
    expected = reference_scores(artifact, BATCH)
    np.testing.assert_allclose(served(artifact, BATCH), expected, atol=1e-5)
    assert np.abs(expected - served(tiny_artifact("modernbert"), BATCH)).max() > 1e-2


def test_rope_that_looks_at_the_whole_batch_runs_row_by_row(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "dynamic"))
    rope = {
        "rope_type": "dynamic",
        "factor": 4.0,
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 64,
    }
    edit_config(folder, rope_parameters=rope, max_position_embeddings=64)
    artifact = artifact_of(folder)
    batch = [sequence(20, 1), sequence(200, 2), sequence(20, 3)]
    loaded = TorchBackend.load(artifact)
    scores = loaded.forward(batch)[0]
    assert not loaded.shares_prefix
    assert [s.tobytes() for s in scores] == [loaded.forward([b])[0].tobytes() for b in batch]
    np.testing.assert_allclose(
        scores, np.concatenate([reference_scores(artifact, [b]) for b in batch]), atol=1e-5
    )


@pytest.mark.parametrize("arch", DECODERS)
def test_seeds_make_different_models(arch: str, tmp_path: Path) -> None:
    other = artifact_of(build_tiny(arch, tmp_path / arch, seed=1))
    assert np.abs(served(other, BATCH) - served(tiny_artifact(arch), BATCH)).max() > 1e-2
