"""How likely responses are under a causal language model."""

from collections.abc import Sequence

import numpy as np
import torch

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, TokenLogProbs
from guerdon_service.policies.causal_lm import CausalLM

_ROWS = 64
"""Distributions held in float64 at a time: over 150,000 tokens 80 MB, twice."""


@torch.inference_mode()
def response_logprobs(lm: CausalLM, prompt: Sequence[int], response: Generated) -> TokenLogProbs:
    """Log-probability of each token of the text at temperature 1, then of the one that ended it, if known.

    Args:
        prompt: token ids.

    Raises:
        InvalidInput: prompt and response do not fit the model: as a reference it may take less.
    """
    text: list[int] = lm.tokenizer(response.text, add_special_tokens=False, verbose=False)["input_ids"]
    tokens = text if response.end_token is None else [*text, response.end_token]
    if len(prompt) + len(tokens) > lm.context:
        raise InvalidInput(
            f"a prompt of {len(prompt)} tokens with a response of {len(tokens)} exceeds the context of the "
            f"policy that is to read it, {lm.context} tokens; ask for fewer max_tokens",
            param="max_tokens",
        )
    ids = torch.tensor([[*prompt, *tokens]], device=next(lm.model.parameters()).device)
    logits = lm.model(ids, use_cache=False, logits_to_keep=len(tokens) + 1).logits[0, :-1]
    parts = zip(logits.split(_ROWS), ids[0, len(prompt) :, None].split(_ROWS), strict=True)
    values = [torch.log_softmax(rows.double(), -1).gather(1, said)[:, 0] for rows, said in parts]
    return TokenLogProbs(tuple(tokens), np.asarray(torch.cat(values).cpu()))
