"""How far a policy has moved from its reference, measured on what it writes itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_training.policy.encode import Example
from guerdon_training.policy.logprobs import row_logprobs
from guerdon_training.policy.plan import packed
from guerdon_training.policy.reference import as_reference
from guerdon_training.policy.rows import pack
from guerdon_training.ppo.losses import kl_k1, kl_k3
from guerdon_training.ppo.sample import sample_responses, uniforms
from guerdon_training.problems import refuse_first


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """num_prompts: held-out prompts to answer once each; 0 leaves the measurement out.

    max_new_tokens: responses end there at the latest, and the KL is that of what was written so far.
    """

    num_prompts: int = 32
    max_new_tokens: int = 64


def check_drift(drift: DriftConfig) -> None:
    """Refuse values that no run could use.

    Raises:
        InvalidInput: the key is named.
    """
    problems = {
        "num_prompts must be at least 0": drift.num_prompts < 0,
        "max_new_tokens must be at least 1": drift.max_new_tokens < 1,
    }
    refuse_first(problems, "drift.")


@torch.no_grad()
def measure_drift(
    policy: nn.Module,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    config: DriftConfig,
    seed: int,
    max_row_tokens: int,
) -> dict[str, float]:
    """KL(policy || reference) per response, in nats, estimated from one sample for each prompt.

    Samples are the policy's own, at temperature 1 and uncut. `kl_k1` is unbiased and noisy, `kl_k3` has less
    variance and cannot be negative (Schulman, "Approximating KL divergence", 2020).

    Args:
        folder: what the policy was loaded from.
        prompts: token ids that end with the generation prompt.

    Returns:
        ``kl_k1``, ``kl_k3``, ``response_tokens`` (mean), ``eos_rate`` (share that ended by themselves).
    """
    assert isinstance(tokenizer.eos_token_id, int), "load_tokenizer refuses one without EOS"
    responses = sample_responses(
        policy,
        prompts,
        uniforms(range(seed, seed + len(prompts)), config.max_new_tokens),
        temperature=1.0,
        top_p=1.0,
        eos_token_ids=[tokenizer.eos_token_id],
        pad_token_id=tokenizer.eos_token_id,
    )
    written = [t[m > 0].tolist() for t, m in zip(responses.tokens, responses.mask, strict=True)]
    examples = [_example(p, r) for p, r in zip(prompts, written, strict=True)]
    logprobs = _logprobs(policy, examples, max_row_tokens)
    with as_reference(policy, folder) as reference:
        ref_logprobs = _logprobs(reference, examples, max_row_tokens)
    return {
        "kl_k1": float(kl_k1(logprobs, ref_logprobs).sum() / len(examples)),
        "kl_k3": float(kl_k3(logprobs, ref_logprobs).sum() / len(examples)),
        "response_tokens": len(logprobs) / len(examples),
        "eos_rate": float(responses.finished.float().mean()),
    }


def _example(prompt: Sequence[int], response: Sequence[int]) -> Example:
    return Example((*prompt, *response), (False,) * len(prompt) + (True,) * len(response))


def _logprobs(model: nn.Module, examples: Sequence[Example], max_row_tokens: int) -> torch.Tensor:
    """Of every response token, in an order that `examples` and `max_row_tokens` fix: float32 [R]."""
    rows = packed(range(len(examples)), [len(e.input_ids) for e in examples], max_row_tokens)
    return torch.cat([row_logprobs(model, pack([examples[i] for i in row])) for row in rows])
