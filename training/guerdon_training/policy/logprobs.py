"""Log-probabilities of response tokens under a policy.

Rows hold no padding, so none can change a result. The model is asked for logits at the needed positions alone
(`logits_to_keep`): with a vocabulary of 50,000 the prompt's logits would be the largest tensor of a step.
"""

import torch
from torch import Tensor, nn

from guerdon_training.policy.rows import Row


def row_logprobs(model: nn.Module, row: Row, temperature: float = 1.0) -> Tensor:
    """Log-probability of each target: float32 [R].

    Position ids that restart make transformers mask attention between examples; that holds only without an
    attention mask and without a cache.
    """
    row = row.to(next(model.parameters()).device)
    logits = model(
        input_ids=row.input_ids,
        position_ids=row.position_ids,
        use_cache=False,
        logits_to_keep=row.predictors,
    ).logits[0]
    return token_logprobs(logits, row.targets, temperature)


def example_logprobs(model: nn.Module, row: Row, temperature: float = 1.0) -> Tensor:
    """Log-probability of each example's response, summed over its targets: float32 [S]."""
    return sum_by_example(row, row_logprobs(model, row, temperature))


def sum_by_example(row: Row, values: Tensor) -> Tensor:
    """Sums over each example's targets: ``[R]`` to ``[S]``."""
    return values.new_zeros(row.num_examples).index_add(0, row.owners.to(values.device), values)


def token_logprobs(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """``log softmax(logits / temperature)[target]``: float32, the shape of `targets`.

    Written as logit less log-sum-exp, which needs no second tensor of the logits' size going forward.

    Args:
        logits: float [..., V]. targets: int64 [...]. temperature: of the sampling, above 0.
    """
    logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    picked = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return picked - torch.logsumexp(logits, -1)
