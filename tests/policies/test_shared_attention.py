"""Decoding beside a shared prompt gives the logits of plain `transformers`, for every decoder family."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guerdon_service.policies.decode import decode
from guerdon_service.policies.draw import uniforms
from guerdon_service.policies.shared_attention import SHARED, register_shared_attention
from tests.tiny import DECODERS, SLIDING_WINDOW, tiny


@pytest.mark.parametrize("prompt_length", [5, SLIDING_WINDOW - 2, 40])
@pytest.mark.parametrize("arch", DECODERS)
def test_every_step_has_the_logits_of_plain_transformers(arch: str, prompt_length: int) -> None:
    """Windows are crossed in the prompt, in the response and never; soft caps and grouped heads are there."""
    model, plain = _both(arch)
    prompt = [7 + i % 50 for i in range(prompt_length)]
    noise = torch.stack([uniforms(0, i, 20) for i in range(3)])
    seen: list[torch.Tensor] = []
    hook = model.register_forward_hook(lambda _m, _a, out: seen.append(out.logits[:, -1]))
    steps = decode(model, prompt, noise, temperature=1.0, top_p=1.0, ends=[0])
    sampled = {s.row: s for finished in steps for s in finished}
    hook.remove()
    assert max(len(s.tokens) for s in sampled.values()) > SLIDING_WINDOW
    for row, sample in sampled.items():
        with torch.no_grad():
            ids = torch.tensor([[*prompt, *sample.tokens[:-1]]])
            expected = plain(ids).logits[0, len(prompt) - 1 :]
        found = torch.stack([x[min(row, len(x) - 1)] for x in seen[: len(sample.tokens)]])
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def _both(arch: str) -> tuple[Any, Any]:
    register_shared_attention()
    config = AutoConfig.from_pretrained(tiny(arch))
    torch.manual_seed(0)
    plain: Any = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=SHARED).eval()
    model.load_state_dict(plain.state_dict())
    return model, plain
