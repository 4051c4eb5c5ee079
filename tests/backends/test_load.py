"""What is refused, what never runs, and what stays in fp32."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.reference import reference_scores
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from tests.backends.artifacts import answers, artifact_of, edit_config, edit_json, sequence, tiny_artifact
from tests.tiny import ARCHS, MAX_POSITIONS, tiny

BATCH = [sequence(n, seed=n) for n in (3, 17, 90)] + answers(30, (5, 20))
HEADS = {"bert": "classifier", "llama": "score"}


def copy(arch: str, folder: Path) -> Path:
    return Path(shutil.copytree(tiny(arch), folder))


def refused(artifact: Artifact) -> str:
    with pytest.raises(InvalidInput) as caught:
        TorchBackend.load(artifact)
    assert caught.value.param == "source"
    return caught.value.message


def drop_tensors(file: Path, *names: str) -> None:
    kept = {k: v for k, v in load_file(file).items() if not any(n in k for n in names)}
    save_file(kept, file, metadata={"format": "pt"})


def adapter(arch: str, folder: Path, num_heads: int = 2, **lora: Any) -> Path:
    """A LoRA over every linear layer with a head of its own, all of it far from zero."""
    base = AutoModelForSequenceClassification.from_pretrained(
        headless(arch, folder.parent / "base"), num_labels=num_heads
    )
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        modules_to_save=[HEADS[arch]],
        **lora,
    )
    model = get_peft_model(base, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.normal_(0.0, 0.2)
    model.save_pretrained(str(folder))
    return folder


def headless(arch: str, folder: Path) -> Path:
    """The family's trunk as a base model is published: no head, and no pooler but BERT's own."""
    if not folder.exists():
        copy(arch, folder)
        drop_tensors(folder / "model.safetensors", HEADS[arch])
    return folder


@pytest.mark.parametrize("arch", ARCHS)
def test_the_head_stays_in_fp32_and_buffers_too(arch: str) -> None:
    model = load_classifier(tiny_artifact(arch), torch.bfloat16, "cpu")
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    heads = ("pooler.", "classifier.", "head.", "score.")
    assert {d for n, d in dtypes.items() if n.startswith(heads)} == {torch.float32}
    assert {d for n, d in dtypes.items() if not n.startswith(heads)} == {torch.bfloat16}
    assert all(b.dtype != torch.bfloat16 for b in model.buffers()), "rotary frequencies lose their digits"
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("arch", ["bert", "llama"])
@pytest.mark.parametrize("lora", [{}, {"use_rslora": True}], ids=["plain", "rslora"])
def test_an_adapter_with_its_head_equals_the_unmerged_model(
    arch: str, lora: dict[str, Any], tmp_path: Path
) -> None:
    folder = adapter(arch, tmp_path / "adapter", **lora)
    base = headless(arch, tmp_path / "base")
    artifact = artifact_of(base, 2, adapter=folder)
    scores = TorchBackend.load(artifact).forward(BATCH)[0]
    np.testing.assert_allclose(scores, reference_scores(artifact, BATCH), atol=1e-5)
    plain = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(base, num_labels=2), folder
    ).eval()
    with torch.inference_mode():
        unmerged = [
            plain(input_ids=torch.from_numpy(e.input_ids.astype(np.int64))[None]).logits[0] for e in BATCH
        ]
    np.testing.assert_allclose(scores, torch.stack(unmerged).numpy(), atol=1e-4)


@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_an_adapter_that_lost_its_head_is_refused(arch: str, tmp_path: Path) -> None:
    folder = adapter(arch, tmp_path / "adapter")
    drop_tensors(folder / "adapter_model.safetensors", HEADS[arch])
    message = refused(artifact_of(headless(arch, tmp_path / "base"), 2, adapter=folder))
    assert HEADS[arch] in message
    assert "modules_to_save" in message


def test_a_named_head_must_be_held_even_if_the_base_has_one(
    tmp_path: Path,
) -> None:
    folder = adapter("llama", tmp_path / "adapter", num_heads=1)
    drop_tensors(folder / "adapter_model.safetensors", "score")
    assert "score" in refused(artifact_of(tiny("llama"), 1, adapter=folder))


def test_an_adapter_without_a_head_uses_its_base_head(tmp_path: Path) -> None:
    folder = adapter("llama", tmp_path / "adapter", num_heads=1)
    drop_tensors(folder / "adapter_model.safetensors", "score")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"modules_to_save": None, "task_type": None})
    )
    artifact = artifact_of(tiny("llama"), 1, adapter=folder)
    scores = TorchBackend.load(artifact).forward(BATCH)[0]
    np.testing.assert_allclose(scores, reference_scores(artifact, BATCH), atol=1e-5)
    assert np.abs(scores - TorchBackend.load(tiny_artifact("llama")).forward(BATCH)[0]).max() > 1e-2


@pytest.mark.parametrize(
    "change",
    [{"peft_type": "IA3"}, {"megatron_config": {"a": 1}, "megatron_core": "evil"}],
    ids=["ia3", "megatron"],
)
def test_adapters_of_another_kind_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    folder = adapter("llama", tmp_path / "adapter", num_heads=1)
    edit_json(folder / "adapter_config.json", change)
    assert next(iter(change)) in refused(artifact_of(tiny("llama"), 1, adapter=folder))


def test_a_pickled_adapter_is_refused(tmp_path: Path) -> None:
    folder = adapter("llama", tmp_path / "adapter", num_heads=1)
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()
    assert "adapter_model.safetensors" in refused(artifact_of(tiny("llama"), 1, adapter=folder))


@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_weights_without_a_head_are_refused(arch: str, tmp_path: Path) -> None:
    assert HEADS[arch] in refused(artifact_of(headless(arch, tmp_path / "base")))


def test_any_missing_weight_is_refused(tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    drop_tensors(folder / "model.safetensors", "layers.1.mlp.up_proj")
    assert "layers.1.mlp.up_proj" in refused(artifact_of(folder))


def test_another_number_of_heads_than_the_manifest_is_refused() -> None:
    assert "3 head(s)" in refused(artifact_of(tiny("llama", num_labels=2), 3))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "safe_serialization" in refused(artifact_of(folder))


def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "stolen.safetensors")
    index = {"metadata": {}, "weight_map": {"score.weight": "../stolen.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "../stolen.safetensors" in refused(artifact_of(folder))


def test_an_index_that_points_to_a_hidden_file_is_refused(tmp_path: Path) -> None:
    """No digest covers one: its weights could change and the model's identity would not."""
    folder = copy("llama", tmp_path / "model")
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / ".hidden.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, ".hidden.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert ".hidden.safetensors" in refused(artifact_of(folder))


def test_sharded_weights_load(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    AutoModelForSequenceClassification.from_pretrained(tiny("llama")).save_pretrained(
        folder, max_shard_size="100KB"
    )
    assert len(list(folder.glob("*.safetensors"))) > 1
    sharded = TorchBackend.load(artifact_of(folder)).forward(BATCH)[0]
    assert sharded.tobytes() == TorchBackend.load(tiny_artifact("llama")).forward(BATCH)[0].tobytes()


@pytest.mark.parametrize("arch", ["bert", "xlm_roberta"])
def test_more_tokens_than_there_are_positions_are_refused(arch: str) -> None:
    longest = TorchBackend.load(tiny_artifact(arch, max_tokens=MAX_POSITIONS))
    assert np.isfinite(longest.forward([sequence(MAX_POSITIONS)])[0]).all()
    with pytest.raises(InvalidInput, match=f"positions for {MAX_POSITIONS}") as caught:
        TorchBackend.load(tiny_artifact(arch, max_tokens=MAX_POSITIONS + 1))
    assert caught.value.param == "manifest.max_tokens"


@pytest.mark.parametrize("arch", ["deberta_v2", "modernbert", "llama"])
def test_positions_without_a_table_have_no_end(arch: str) -> None:
    backend = TorchBackend.load(tiny_artifact(arch, max_tokens=MAX_POSITIONS + 1))
    assert np.isfinite(backend.forward([sequence(MAX_POSITIONS + 1)])[0]).all()


@pytest.mark.parametrize("key", ["AutoModelForSequenceClassification", "AutoConfig", "AutoModel"])
def test_remote_code_never_runs(key: str, tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    proof = tmp_path / "it-ran"
    (folder / "evil.py").write_text(
        f"from pathlib import Path\nPath({str(proof)!r}).touch()\n"
        "from transformers import LlamaConfig as Evil, LlamaForSequenceClassification\n"
    )
    auto_map = {key: "evil.Evil" if key == "AutoConfig" else "evil.LlamaForSequenceClassification"}
    edit_config(folder, auto_map=auto_map, trust_remote_code=True)
    for name in ("tokenizer_config.json", "generation_config.json"):
        (folder / name).write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}))
    scores = TorchBackend.load(artifact_of(folder)).forward(BATCH)[0]
    assert not proof.exists()
    assert scores.tobytes() == TorchBackend.load(tiny_artifact("llama")).forward(BATCH)[0].tobytes()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_type": "evil"}, "evil"),
        ({"model_type": None}, "model_type"),
        ({"architectures": ["LlamaForRewardModelWithGating"]}, "LlamaForRewardModelWithGating"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
        ({"is_causal": False}, "is_causal"),
        ({"hidden_size": "many"}, "config.json"),
        ({"hidden_size": 96}, "weights do not fit"),
    ],
)
def test_what_is_not_served_is_named(fields: dict[str, Any], named: str, tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    edit_config(folder, **fields)
    assert named in refused(artifact_of(folder))


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_broken_config_is_refused(text: str, tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    (folder / "config.json").write_text(text)
    assert "config.json" in refused(artifact_of(folder))


def test_an_encoder_turned_decoder_is_refused(tmp_path: Path) -> None:
    folder = copy("bert", tmp_path / "model")
    edit_config(folder, is_decoder=True)
    assert "is_decoder" in refused(artifact_of(folder))


def test_attention_of_the_config_is_not_obeyed(tmp_path: Path) -> None:
    folder = copy("llama", tmp_path / "model")
    edit_config(folder, attn_implementation="someone/kernel", _attn_implementation="someone/kernel")
    scores = TorchBackend.load(artifact_of(folder)).forward(BATCH)[0]
    np.testing.assert_allclose(scores, reference_scores(tiny_artifact("llama"), BATCH), atol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("dtype", "int8"), ("dtype", "float64"), ("device", "tpu")])
def test_unknown_dtypes_and_devices_are_refused(option: str, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TorchBackend.load(tiny_artifact("bert"), **{option: value})
    assert caught.value.param == option
