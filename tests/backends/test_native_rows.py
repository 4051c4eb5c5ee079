"""Steps of rows on AMX: torch's own layers in fp64 are the oracle."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, Qwen3Config, Qwen3Model
from transformers.models.gemma2 import Gemma2Config, Gemma2Model
from transformers.models.mistral import MistralConfig, MistralModel
from transformers.models.qwen2 import Qwen2Config, Qwen2Model

from guerdon_service.backends.attention import PACKED, register_packed_attention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.native.decoder_layer import TiledDecoderLayer
from guerdon_service.backends.native.encoder_layer import TiledEncoderLayer
from guerdon_service.backends.native.linear import TiledGate, TiledLinear
from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import Multiply, Norm, Rotate
from guerdon_service.backends.native.weight import TiledWeight
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.threads import on_threads
from tests.backends import tiles

pytestmark = tiles.needs_tiles
SIZES = tiles.SIZES | {"num_hidden_layers": 3}
CONFIGS: dict[str, tuple[Any, Any]] = {
    "bert": (BertModel, BertConfig(**SIZES)),
    "llama": (LlamaModel, LlamaConfig(**SIZES, num_key_value_heads=1)),
    "llama, biases": (LlamaModel, LlamaConfig(**SIZES, mlp_bias=True, attention_bias=True)),
    "mistral": (
        MistralModel,
        MistralConfig(**SIZES, num_key_value_heads=1, head_dim=32, sliding_window=50),
    ),
    "qwen2": (Qwen2Model, Qwen2Config(**SIZES, num_key_value_heads=1)),
    "gemma2": (
        Gemma2Model,
        Gemma2Config(
            **SIZES,
            num_key_value_heads=1,
            head_dim=32,
            query_pre_attn_scalar=32,
            sliding_window=50,
            attn_logit_softcapping=5.0,
        ),
    ),
    "qwen3": (Qwen3Model, Qwen3Config(**SIZES, num_key_value_heads=3, head_dim=32)),
}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def near(found: Tensor, expected: Tensor) -> None:
    """Within bf16's rounding of outputs near 1, and of some terms before."""
    torch.testing.assert_close(found.double(), expected.double(), atol=0.03, rtol=0.01)


@pytest.mark.parametrize("num_rows", [1, 31, 32, 300])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 64), (384, 96), (24, 40)])
def test_a_layer_computes_what_torch_does(num_rows: int, inputs: int, outputs: int) -> None:
    linear = nn.Linear(inputs, outputs, dtype=torch.bfloat16)
    rows, other = torch.randn(num_rows, inputs).bfloat16(), torch.randn(num_rows, outputs).bfloat16()
    expected = nn.functional.linear(rows.double(), linear.weight.double(), linear.bias.double())
    near(TiledLinear(linear)(rows), expected)
    near(TiledLinear(linear, after="gelu")(rows), nn.functional.gelu(expected))
    near(TiledLinear(linear).plus(rows, other), expected + other)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
def test_gates_let_through_what_torch_does(activation: str, spread: float, bias: bool) -> None:
    gate, up = (nn.Linear(64, 40, bias=bias, dtype=torch.bfloat16) for _ in range(2))
    rows = (torch.randn(70, 64) * spread).bfloat16()
    opened, passed = (copy.deepcopy(layer).double()(rows.double()) for layer in (gate, up))
    act = (
        nn.functional.silu(opened) if activation == "silu" else nn.functional.gelu(opened, approximate="tanh")
    )
    size = max(spread, 0.1) ** 2
    near(TiledGate(gate, up, activation)(rows) / size, act * passed / size)  # type: ignore[arg-type]


@pytest.mark.parametrize("after", ["gelu", "silu", "gelu_tanh"])
def test_what_is_not_a_number_stays_so_and_in_its_row(after: Any) -> None:
    layer = nn.Linear(32, 32, dtype=torch.bfloat16)
    tiled = TiledLinear(layer, after="gelu") if after == "gelu" else TiledGate(layer, layer, after)
    rows = torch.randn(40, 32).bfloat16()
    rows[[3, 35]] = torch.nan
    spoilt = tiled(rows).isnan()
    assert spoilt[[3, 35]].all()
    assert spoilt.any(1).sum() == 2


def test_no_rows_are_no_work() -> None:
    layer = TiledLinear(nn.Linear(32, 64, dtype=torch.bfloat16))
    assert layer(torch.zeros(0, 32, dtype=torch.bfloat16)).shape == (0, 64)


def test_the_exact_gelu_is_right_far_from_zero_too() -> None:
    identity = nn.Linear(32, 32, bias=False, dtype=torch.bfloat16)
    identity.weight.data = torch.eye(32).bfloat16()
    rows = torch.linspace(-60, 60, 64 * 32).bfloat16().view(64, 32)
    found = TiledLinear(identity, after="gelu")(rows).double()
    expected = nn.functional.gelu(rows.double())
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2**-8)


@pytest.mark.parametrize("size", [96, 40])
@pytest.mark.parametrize("centred", [True, False])
def test_norms_are_torch_s_own(size: int, centred: bool) -> None:
    weight, bias = torch.rand(size) + 0.5, torch.randn(size)
    rows, other = torch.randn(37, 2 * size).bfloat16() * 3 + 1, torch.randn(37, 2 * size).bfloat16()
    step = Norm(weight, bias if centred else None, 1e-6, "rows", "out", "other", begin=0, count=2)
    out = torch.empty_like(rows)
    RowSteps([step], dict.fromkeys(("rows", "out", "other"), 2 * size))(rows=rows, out=out, other=other)
    parts = rows.double().unflatten(1, (2, size))
    if centred:
        expected = nn.functional.layer_norm(parts, (size,), weight.double(), bias.double(), 1e-6)
    else:
        expected = nn.functional.rms_norm(parts, (size,), weight.double(), 1e-6)
    near(out, expected.flatten(1) + other)


def test_heads_are_turned_in_place_and_what_follows_them_is_left() -> None:
    rows, angle = torch.randn(40, 3 * 64).bfloat16(), torch.rand(40, 32) * 6
    cos, sin = (torch.cat([f(angle)] * 2, 1).bfloat16() for f in (torch.cos, torch.sin))
    before = rows.double().unflatten(1, (3, 64))
    halves = before[:, :2].chunk(2, -1)
    turned = (
        before[:, :2] * cos.double()[:, None] + torch.cat([-halves[1], halves[0]], -1) * sin.double()[:, None]
    )
    RowSteps([Rotate("rows", 2, 64)], {"rows": 192, "cos": 64, "sin": 64})(rows=rows, cos=cos, sin=sin)
    near(rows[:, :128], turned.flatten(1))
    assert torch.equal(rows[:, 128:].double(), before[:, 2].double())


@pytest.mark.parametrize("inner", [64, 2080])
def test_rows_between_two_steps_keep_apart_however_many_go_together(inner: int) -> None:
    up, down = (torch.randn(*shape).bfloat16() / 32 for shape in ((inner, 1024), (1024, inner)))
    steps = RowSteps(
        [Multiply(TiledWeight.bf16(up), "rows", "middle"), Multiply(TiledWeight.bf16(down), "middle", "out")],
        {"rows": 1024},
    )

    def taken(rows: Tensor) -> Tensor:
        out = torch.empty_like(rows)
        steps(rows=rows, out=out)
        return out

    rows = torch.randn(1100, 1024).bfloat16()
    with on_threads(1):
        whole = taken(rows)
        near(whole, rows.double() @ up.double().T @ down.double().T)
        for place in (0, 255, 256, 511, 512, 600, 1099):
            assert torch.equal(taken(rows[place : place + 1])[0], whole[place]), place


@pytest.mark.parametrize("arch", CONFIGS)
def test_layers_compute_what_transformers_own_do_whoever_is_beside(arch: str) -> None:
    register_packed_attention()
    kind, config = CONFIGS[arch]
    exact = kind._from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    for name, parameter in exact.named_parameters():
        if name.endswith("bias"):  # zeros, as they begin, would tell nothing
            parameter.data.normal_(std=0.3)
    lengths = (5, 40, 64, 300)
    ids = [torch.randint(0, 50, (n,)) for n in lengths]
    tiled = kind._from_config(copy.deepcopy(config), attn_implementation=PACKED).eval()
    tiled.load_state_dict(exact.state_dict())
    tiled.bfloat16()
    prepack(tiled)
    made = [m for m in tiled.modules() if isinstance(m, TiledEncoderLayer | TiledDecoderLayer)]
    assert len(made) == 3
    exact.load_state_dict({k: v.bfloat16().float() for k, v in exact.state_dict().items()})

    def states(some: list[Tensor]) -> list[Tensor]:
        bounds = torch.tensor([0, *(len(x) for x in some)]).cumsum(0).tolist()
        pairs = list(itertools.pairwise(bounds))
        packed = PackedMasks(tuple(Segment(*pair) for pair in pairs))
        places = torch.cat([torch.arange(len(x)) for x in some])[None]
        more = {} if arch == "bert" else {"use_cache": False}
        found = tiled(torch.cat(some)[None], position_ids=places, packed=packed, **more).last_hidden_state[0]
        return [found[slice(*pair)] for pair in pairs]

    together = states(ids)
    for one, found in zip(ids, together, strict=True):
        expected = exact(one[None]).last_hidden_state[0]
        assert (found.float() - expected).abs().max() < 0.08
        assert (found.float() - expected).abs().mean() < 0.012
        for num_threads in (1, 2):
            with on_threads(num_threads):
                assert torch.equal(states([one])[0], found), (len(one), num_threads)
