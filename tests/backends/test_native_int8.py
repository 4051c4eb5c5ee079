"""uint8 rows and int8 weights by tiles: integer arithmetic is the oracle."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import ZERO, Multiply, Quantise
from guerdon_service.backends.native.weight import TiledWeight
from guerdon_service.backends.threads import on_threads
from tests.backends.tiles import needs_tiles

pytestmark = needs_tiles


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def quantised(rows: Tensor, **how: Tensor) -> Tensor:
    """uint8 [T, columns], those that only fill the last tile left out."""
    size = rows.shape[1]
    step = Quantise("rows", "out", size, **how)
    out = torch.zeros(len(rows), step.columns, dtype=torch.bfloat16)
    RowSteps([step], {"rows": size})(rows=rows, out=out)
    return out.view(torch.uint8)[:, : size + len(how.get("again", ()))]


def test_rows_are_rounded_clipped_and_said_again() -> None:
    rows = torch.tensor(
        [-1e9, -128.0, -127.0, -1.5, -0.5, 0.0, 0.25, 1.5, 2.5, 126.75, 127.0, 1e30, torch.nan, torch.inf]
    )
    rows = torch.cat([rows, torch.zeros(32 - len(rows))]).bfloat16()[None].repeat(3, 1)
    expected = [1, 1, 1, 126, 128, 128, 128, 130, 130, 255, 255, 255, 1, 255]
    found = quantised(rows, again=torch.tensor([9, 1], dtype=torch.int32))
    assert found[:, : len(expected)].tolist() == [expected] * 3
    assert found[:, 32:].tolist() == [[255, 1]] * 3


def test_a_factor_and_an_offset_are_each_columns_own() -> None:
    rows, factor, offset = torch.randn(70, 96).bfloat16(), torch.rand(96) * 60, torch.randn(96) * 9
    expected = (rows.double() * factor + offset + ZERO).round().clamp(1, 255)
    found = quantised(rows, factor=factor, offset=offset).double()
    assert (found - expected).abs().max() <= 1, "a rounding of fp32 beside a half"
    assert (found != expected).double().mean() < 1e-3


@pytest.mark.parametrize("num_rows", [1, 31, 32, 300])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 32), (384, 96), (1536, 384), (96, 64), (36, 40)])
def test_products_are_exact_integer_sums(num_rows: int, inputs: int, outputs: int) -> None:
    values = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
    scales, bias = torch.rand(outputs) * 1e-4, torch.randn(outputs)
    weight = TiledWeight.int8(values, scales, bias)
    rows = torch.zeros(num_rows, 2 * weight.inputs, dtype=torch.uint8)
    rows[:, :inputs] = torch.randint(0, 256, (num_rows, inputs))
    rows[:, inputs:] = 77  # what fills the last tile is multiplied by zeros
    other = torch.randn(num_rows, weight.outputs).bfloat16()
    sums = rows[:, :inputs].double() @ values.double().T
    expected = torch.zeros(num_rows, weight.outputs, dtype=torch.float64)
    expected[:, :outputs] = sums * scales.double() + bias.double()

    def product(step: Multiply, columns: int, **given: Tensor) -> Tensor:
        out = torch.empty(num_rows, columns, dtype=torch.bfloat16)
        widths = {"rows": weight.inputs} | ({"other": weight.outputs} if given else {})
        RowSteps([step], widths)(rows=rows.view(torch.bfloat16), out=out, **given)
        return out

    plain = product(Multiply(weight, "rows", "out"), weight.outputs)
    torch.testing.assert_close(plain.double(), expected, atol=1e-6, rtol=2**-8)
    summed = product(Multiply(weight, "rows", "out", "plus", "other"), weight.outputs, other=other)
    torch.testing.assert_close(summed.double(), expected + other.double(), atol=1e-5, rtol=2**-8)
    unit, zero = float(expected.abs().max() / 200), 9
    active = Multiply(weight, "rows", "out", "gelu_uint8", None, unit, zero)
    found = product(active, weight.outputs // 2).view(torch.uint8).double()
    wanted = (torch.nn.functional.gelu(expected) / unit + zero).round().clamp(0, 255)
    assert (found - wanted).abs().max() <= 1
    assert (found != wanted).double().mean() < 0.02


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_a_row_has_the_same_bits_beside_any_others(num_threads: int) -> None:
    values = torch.randint(-127, 128, (96, 128), dtype=torch.int8)
    weight = TiledWeight.int8(values, torch.rand(96) / 999, torch.randn(96))
    steps = RowSteps([Quantise("rows", "q", 128), Multiply(weight, "q", "out")], {"rows": 128})
    rows = (torch.randn(600, 128) * 40).bfloat16()

    def taken(some: Tensor) -> Tensor:
        out = torch.empty(len(some), 96, dtype=torch.bfloat16)
        steps(rows=some, out=out)
        return out

    with on_threads(1):
        whole = taken(rows)
    with on_threads(num_threads):
        for place in (slice(0, 1), slice(31, 64), slice(255, 300), slice(0, 600)):
            assert torch.equal(taken(rows[place]), whole[place])
