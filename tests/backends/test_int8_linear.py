"""Products in int8: integer arithmetic is the oracle."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from guerdon_service.backends.int8_linear import Int8Linear, quantised, zero_point


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def layer(num_in: int, num_out: int) -> tuple[Int8Linear, Tensor, Tensor]:
    """The layer, its weight as it was rounded, and its bias, both fp64."""
    scales = torch.rand(num_out) + 0.5
    values = torch.randint(-127, 128, (num_out, num_in)).float()
    values[:, 0] = 127  # so that the scales are those
    weight, bias = values * scales[:, None], torch.randn(num_out)
    return Int8Linear(weight, bias), weight.double(), bias.double()


@pytest.mark.parametrize("vnni", [True, False])
def test_what_is_quantised_is_rounded_and_clipped(vnni: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    zero = zero_point()
    rows = torch.tensor([[-1e9, -zero, -1.6, -0.5, 0.0, 0.4, 1.5, zero - 1.2, 1e9]])
    expected = [1, 1, zero - 2, zero, zero, zero, zero + 2, 2 * zero - 1, 2 * zero - 1]
    assert quantised(rows).tolist() == [expected]
    assert quantised(rows / 4 - 2, torch.full((9,), 4.0), torch.full((9,), 8.0)).tolist() == [expected]
    assert zero == (128 if vnni else 64)


def test_products_are_exact_integer_sums() -> None:
    linear, weight, bias = layer(96, 48)
    rows = torch.randint(1, 2 * zero_point(), (24, 96), dtype=torch.uint8)
    residual = torch.randn(24, 48)
    expected = (rows.double() - zero_point()) @ weight.T + bias
    torch.testing.assert_close(linear(rows, torch.float32), expected.float(), rtol=1e-5, atol=1e-3)
    summed = (expected + residual).float()
    torch.testing.assert_close(linear.plus(rows, residual), summed, rtol=1e-5, atol=1e-3)
    scale = float(expected.max() / 250)
    active = linear.gelu(rows, scale, 3)
    wanted = torch.nn.functional.gelu(expected).div(scale).round().add(3).clamp(0, 255)
    assert (active.double() - wanted).abs().max() <= 1


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_a_row_has_the_same_bits_beside_any_others(num_threads: int) -> None:
    linear, _, _ = layer(384, 96)
    rows = torch.randint(1, 2 * zero_point(), (264, 384), dtype=torch.uint8)
    residual = torch.randn(264, 96)
    torch.set_num_threads(1)
    whole = linear(rows, torch.bfloat16), linear.plus(rows, residual), linear.gelu(rows, 9.0, 2)
    torch.set_num_threads(num_threads)
    for size in (8, 16, 40, 72, 136, 256):
        for start in (0, 8, 264 - size):
            part = rows[start : start + size].contiguous()
            rest = residual[start : start + size].contiguous()
            found = linear(part, torch.bfloat16), linear.plus(part, rest), linear.gelu(part, 9.0, 2)
            for a, b in zip(found, whole, strict=True):
                assert torch.equal(a, b[start : start + size]), (size, start)
