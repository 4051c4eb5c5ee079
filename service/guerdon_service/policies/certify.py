"""No policy answers before its decoding gave the logits that plain `transformers` gives."""

from collections.abc import Sequence
from typing import Any

import torch

from guerdon_service.core.errors import InvalidInput
from guerdon_service.policies.decode import decode
from guerdon_service.policies.draw import uniforms
from guerdon_service.policies.shared_attention import SHARED

_PROMPT_TOKENS, _STEPS = 24, 3
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""Of the largest logit, by dtype."""


def check_decoding(model: Any, ends: Sequence[int]) -> None:
    """Decode a few tokens after a made-up prompt, and compare with whole forwards of eager attention.

    Raises:
        InvalidInput: the architecture does not run with the shared prompt, or gives other logits.
    """
    vocabulary = int(model.config.get_text_config().vocab_size)
    prompt = [(7 + 31 * i) % vocabulary for i in range(_PROMPT_TOKENS)]
    try:
        gap = _gap(model, prompt, ends)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as err:
        raise _refused(model, f"does not run beside a shared prompt ({type(err).__name__}: {err})") from err
    if not gap <= _TOLERANCE[model.dtype]:
        raise _refused(model, f"decodes other logits beside a shared prompt, by {gap:.2g} of the largest")


def _gap(model: Any, prompt: list[int], ends: Sequence[int]) -> float:
    """Largest difference of a logit over the largest logit."""
    seen: list[torch.Tensor] = []
    hook = model.register_forward_hook(lambda _module, _inputs, out: seen.append(out.logits[0, -1].float()))
    try:
        noise = uniforms(0, 0, _STEPS)[None]
        steps = decode(model, prompt, noise, temperature=1.0, top_p=1.0, ends=ends)
        (sampled,) = [s for finished in steps for s in finished]
    finally:
        hook.remove()
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            ids = torch.tensor([[*prompt, *sampled.tokens[:-1]]], device=model.device)
            expected = model(ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
    finally:
        model.set_attn_implementation(SHARED)
    return float((torch.stack(seen) - expected).abs().max() / expected.abs().max())


def _refused(model: Any, why: str) -> InvalidInput:
    return InvalidInput(
        f"policy architecture {type(model).__name__} {why}; serve it behind an OpenAI-compatible URL",
        param="source",
    )
