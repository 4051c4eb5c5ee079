"""The rows of the bench that need no wire, on tiny models; of times nothing is asserted."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from guerdon_service.app.bench import limit
from guerdon_service.app.bench.bare import padded_model
from guerdon_service.app.bench.in_process import alias_lookup, rank_tokens
from guerdon_service.app.bench.limit import forward_flops, int8_ops_per_s, matrix_flops_per_s, share_of_limit
from guerdon_service.app.bench.texts import Item
from guerdon_service.app.export_ranges import measure_ranges
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.backends.int8_ranges import write_ranges
from guerdon_service.core.encoded import Encoded
from tests.backends.artifacts import sequence
from tests.tiny import tiny


def test_a_ranking_computes_its_prompt_once() -> None:
    share, counted = rank_tokens(str(tiny("llama")), rounds=1, prompt_words=50, response_words=10)
    assert 1.0 <= share.value <= 1.1 and share.passed
    assert counted.value > 16


def test_looking_up_an_alias_and_a_name_are_measured() -> None:
    by_alias, by_name = alias_lookup(str(tiny("llama")), rounds=2)
    assert (by_alias.unit, by_alias.asked) == ("us", "<= 50")
    assert by_alias.value > 0 and by_name.value > 0


def test_operations_of_a_forward_are_those_that_torch_counts() -> None:
    artifact, lengths = read_artifact(str(tiny("bert"))), (5, 17)
    encoded = [Encoded(np.ones(n, np.int32), 2, truncated=False) for n in lengths]
    trunk: Any = padded_model(artifact)
    trunk.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        for n in lengths:
            trunk.base_model.encoder(torch.zeros(1, n, trunk.config.hidden_size))
    assert forward_flops(artifact, encoded) == counted.get_total_flops()


def test_the_matrix_rate_is_a_rate() -> None:
    assert matrix_flops_per_s(torch.float32, size=64) > 0
    assert int8_ops_per_s(size=64) > 0


def test_the_limit_of_int8_is_measured_where_it_was_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, "MATRIX", 64)
    monkeypatch.setattr(limit, "mixed_items", lambda count, seed: [Item("How many?", "Two of them.")] * count)
    folder = Path(shutil.copytree(tiny("bert"), tmp_path / "model"))
    names = [figure.name for figure in share_of_limit(str(folder), rounds=1, count=2)]
    assert [name.split(":")[0] for name in names] == ["float32"] * 2 + ["bfloat16"] * 2
    artifact = read_artifact(str(folder))
    write_ranges(artifact, folder, measure_ranges(artifact, [sequence(n) for n in (9, 40)]))
    figures = share_of_limit(str(folder), rounds=1, count=2)
    assert [f.name for f in figures[4:]] == ["int8: forward / matrix rate", "int8: matrix rate"]
    assert figures[4].value > 0
