"""The head's products, whose bits may depend neither on a row's place among others nor on threads."""

import numpy as np
import pytest
import torch

from guerdon_service.backends.families import lift_pooler
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.packed import pooled_logits
from tests.backends.artifacts import tiny_artifact
from tests.tiny import ARCHS


@pytest.mark.parametrize("num_heads", [1, 2, 3])
@pytest.mark.parametrize("arch", ARCHS)
@torch.inference_mode()
def test_a_row_has_the_same_logits_at_any_place_and_on_any_number_of_threads(
    arch: str, num_heads: int
) -> None:
    model = load_classifier(tiny_artifact(arch, num_heads), torch.float32, "cpu")
    lift_pooler(model)
    rows = torch.randn(40, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([pooled_logits(model, row[None]) for row in rows])
    for num_threads in (1, 2, 8):
        torch.set_num_threads(num_threads)
        for start in range(9):
            np.testing.assert_array_equal(pooled_logits(model, rows[start:]), alone[start:])
        assert torch.get_num_threads() == num_threads, "they are as they were"
