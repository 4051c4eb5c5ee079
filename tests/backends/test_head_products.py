"""The head's products, whose bits may depend neither on a row's place among others nor on threads."""

import numpy as np
import pytest
import torch

from guerdon_service.backends.families import head_logits, lift_pooler
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.native.head import RowLinear, is_head_taken, take_head
from guerdon_service.backends.packed import pooled_logits
from tests.backends.artifacts import tiny_artifact
from tests.backends.tiles import needs_tiles
from tests.tiny import ARCHS


@pytest.mark.parametrize("taken", [False, pytest.param(True, marks=needs_tiles)])
@pytest.mark.parametrize("num_heads", [1, 2, 3])
@pytest.mark.parametrize("arch", ARCHS)
@torch.inference_mode()
def test_a_row_has_the_same_logits_at_any_place_and_on_any_number_of_threads(
    arch: str, num_heads: int, taken: bool
) -> None:
    model = load_classifier(tiny_artifact(arch, num_heads), torch.float32, "cpu")
    lift_pooler(model)
    rows = torch.randn(40, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    expected = head_logits(model, rows)
    if taken:
        take_head(model)
    assert is_head_taken(model) == taken
    np.testing.assert_allclose(pooled_logits(model, rows), expected, rtol=1e-4, atol=1e-5)
    alone = torch.cat([pooled_logits(model, row[None]) for row in rows])
    for num_threads in (1, 2, 8):
        torch.set_num_threads(num_threads)
        for start in range(9):
            np.testing.assert_array_equal(pooled_logits(model, rows[start:]), alone[start:])
        assert torch.get_num_threads() == num_threads, "they are as they were"


@needs_tiles
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (15, 3), (64, 2), (100, 7), (384, 384)])
@torch.inference_mode()
def test_a_product_row_by_row_is_exact_to_fp32(inputs: int, outputs: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear, rows = torch.nn.Linear(inputs, outputs, bias=bias), torch.randn(3, 5, inputs)
    expected = torch.nn.functional.linear(
        rows.double(), linear.weight.double(), linear.bias.double() if bias else None
    )
    torch.testing.assert_close(RowLinear(linear)(rows).double(), expected, rtol=1e-5, atol=1e-6)
    assert RowLinear(linear)(rows[:0]).shape == (0, 5, outputs)
