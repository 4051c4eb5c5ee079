"""Prepacked linear layers: torch's own layer is the oracle."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.activations import GELUActivation

from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.prepacked_linear import gate_of, linear_of
from guerdon_service.backends.threads import on_threads

DTYPES = (torch.float32, torch.bfloat16)
ROWS = 264


class Block(nn.Module):
    """What BERT calls an intermediate layer."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.dense, self.intermediate_act_fn = nn.Linear(48, 96), act

    def forward(self, rows: Tensor) -> Tensor:
        """[..., 48] to [..., 96]."""
        return self.intermediate_act_fn(self.dense(rows))  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_a_layer_computes_what_torch_does(gelu: bool, bias: bool) -> None:
    linear = nn.Linear(48, 96, bias=bias)
    rows = torch.randn(2, 13, 48)
    expected = linear.double()(rows.double())
    expected = nn.functional.gelu(expected) if gelu else expected
    found = linear_of(linear.float(), after="gelu" if gelu else "none")(rows)
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gelu", [True, False])
def test_a_row_has_the_same_bits_beside_any_others(dtype: torch.dtype, gelu: bool) -> None:
    layer = linear_of(nn.Linear(384, 1536, dtype=dtype), after="gelu" if gelu else "none")
    rows = torch.randn(ROWS, 384, dtype=dtype)
    whole = layer(rows)
    for size in (8, 16, 40, 72, 136, ROWS - 8):
        for start in (0, 8, ROWS - size):
            part = layer(rows[start : start + size].contiguous())
            assert torch.equal(part, whole[start : start + size]), (size, start)


@pytest.mark.parametrize(("num_inputs", "num_outputs"), [(576, 960), (1536, 384), (3072, 768), (8192, 64)])
def test_sums_are_in_the_same_order_beside_any_others(num_inputs: int, num_outputs: int) -> None:
    """The second half of a row takes away what the first adds, so that what is left are the roundings."""
    linear = nn.Linear(num_inputs, num_outputs, bias=False, dtype=torch.bfloat16)
    rows = torch.randn(1200, num_inputs).bfloat16()
    half = num_inputs // 2
    linear.weight.data[:, half:] = -linear.weight.data[:, :half]
    rows[:, half:] = rows[:, :half]
    layer = linear_of(linear)
    for num_threads in (1, torch.get_num_threads()):
        with on_threads(num_threads):
            whole = layer(rows)
            for size in (8, 32, 40, 136, 160, 384, 512, 584, 960):
                assert torch.equal(layer(rows[:size]), whole[:size]), size
                assert torch.equal(layer(rows[-size:]), whole[-size:]), size


@pytest.mark.parametrize("num_inputs", [48, 576, 1536])
def test_what_follows_a_product_depends_on_no_other_row(num_inputs: int) -> None:
    layer = linear_of(nn.Linear(num_inputs, 576, dtype=torch.bfloat16))
    gate, up = (nn.Linear(num_inputs, 576, bias=False, dtype=torch.bfloat16) for _ in range(2))
    gated = gate_of(gate, up, "silu")
    rows, other = torch.randn(1200, num_inputs).bfloat16(), torch.randn(1200, 576).bfloat16()
    opened = nn.functional.silu(gate(rows).float()) * up(rows).float()
    runs = (
        (lambda n: layer.plus(rows[:n], other[:n]), layer(rows).float() + other),
        (lambda n: gated(rows[:n]), opened),
    )
    for run, expected in runs:
        torch.testing.assert_close(run(1200).float(), expected, atol=0.02, rtol=0.02)
        for num_threads in (1, torch.get_num_threads()):
            with on_threads(num_threads):
                whole = run(1200)
                for size in (8, 40, 160, 512, 584):
                    assert torch.equal(run(size), whole[:size]), size


def test_an_exact_gelu_is_fused_and_another_is_not() -> None:
    rows = torch.randn(5, 48)
    for act, fused in ((GELUActivation(), True), (nn.GELU(approximate="tanh"), False)):
        block = Block(act)
        expected = block(rows)
        prepack(block)
        assert isinstance(block.intermediate_act_fn, nn.Identity) == fused
        torch.testing.assert_close(block(rows), expected, atol=1e-5, rtol=1e-5)


def test_a_whole_trunk_is_prepacked_and_half_precision_is_left() -> None:
    config = BertConfig(hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2)
    trunk = BertModel(config, add_pooling_layer=False).eval()
    ids = torch.arange(12)[None]
    expected = trunk(ids).last_hidden_state
    prepack(trunk)
    assert not [m for m in trunk.modules() if isinstance(m, nn.Linear)]
    torch.testing.assert_close(trunk(ids).last_hidden_state, expected, atol=1e-5, rtol=1e-5)
    half = nn.Sequential(nn.Linear(4, 4, dtype=torch.float16))
    prepack(half)
    assert isinstance(half[0], nn.Linear)
