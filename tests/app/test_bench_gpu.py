"""The bench of GPUs, on this machine's CPU with tiny models; of times nothing is asserted."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaModel, Qwen3Config

from guerdon_service.app.bench import gpu
from guerdon_service.app.bench.command import bench_command
from guerdon_service.app.bench.random_model import SHAPES, decoder_flops, random_backend, responses
from guerdon_service.core.errors import InvalidInput

TINY: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0,
}  # fmt: skip


def test_every_figure_is_measured_through_the_service_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MATRIX": 64, "MAX_TOKENS": 128, "PROMPT": 20, "RESPONSE": 9, "FORWARDS": 1}.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(gpu, "MFU_LENGTHS", (32, 64))
    monkeypatch.setattr(gpu, "PACKS", 1)
    monkeypatch.setattr(gpu, "SERVED_LENGTH", 12)
    monkeypatch.setattr(gpu, "SERVED_TOKENS_PER_S", 200.0)
    shapes = {gpu.SERVED: Qwen3Config(**TINY), "other": LlamaConfig(**TINY)}
    figures = gpu.on_gpu(rounds=2, items=30, device="cpu", shapes=shapes)
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names) == 1 + 2 * 8 + 4
    changed = [figure for figure in figures if "depend on their batch" in figure.name]
    assert [figure.value for figure in changed] == [0, 0]
    assert all(figure.value > 0 for figure in figures if figure not in changed)
    assert {figure.asked for figure in figures} == {"", ">= 0.5", "<= 0", "<= 1.15", ">= 200", "<= 500"}


def test_operations_are_those_that_torch_counts_but_for_what_nobody_sees() -> None:
    config = LlamaConfig(**TINY)
    trunk: Any = LlamaModel(config)
    trunk.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        trunk(torch.zeros(1, 24, dtype=torch.long))
    unseen = 4 * config.num_hidden_layers * 4 * 16 * (24 * 23 / 2)
    assert decoder_flops(config, [24]) == counted.get_total_flops() - unseen


def test_shapes_have_the_sizes_that_their_names_say() -> None:
    weights = {name: decoder_flops(config, [1]) / 2 for name, config in SHAPES.items()}
    assert weights["Qwen3-0.6B"] == pytest.approx(0.44e9, rel=0.01)  # 0.6 with embeddings
    assert weights["Llama-3.1-8B"] == pytest.approx(6.98e9, rel=0.01)  # 8.0 with embeddings and their head


def test_a_random_model_scores_and_shares_prompts() -> None:
    config = LlamaConfig(**TINY)
    backend = random_backend(config, "cpu")
    assert config.num_labels != 1, "the caller's configuration stays as it is"
    scores, stats = backend.forward(responses(4, 20, 5, 300, seed=0))
    assert len(set(scores[:, 0].tolist())) == 4
    assert stats.num_computed < 60
    backend.close()


def test_a_machine_without_such_a_device_is_told_so() -> None:
    assert not torch.cuda.is_available(), "this test is for machines without one"
    with pytest.raises(InvalidInput, match="torch sees no CUDA device"):
        bench_command(["--gpu", "--rounds", "1"])


@pytest.mark.parametrize("argv", [["--gpu", "--rows", "limit"], ["--rows", "gpu"]])
def test_there_is_one_way_to_ask_for_a_device_and_it_stands_alone(argv: list[str]) -> None:
    with pytest.raises(SystemExit):
        bench_command(argv)
