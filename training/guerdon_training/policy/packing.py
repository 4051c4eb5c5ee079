"""Whether a model keeps the examples of a row apart, and says the same each time."""

from typing import Any, cast

import torch
from torch import nn

from guerdon_service.core.errors import InvalidInput
from guerdon_training.policy.encode import Example
from guerdon_training.policy.logprobs import row_logprobs
from guerdon_training.policy.rows import pack

NUM_TOKENS = 8
"""Of each of the two examples that are looked at."""

TOLERANCE = 1e-3
"""Nats, of one token: far above rounding in float32, far below what a neighbour or dropout does."""


@torch.no_grad()
def check_packing(model: nn.Module) -> None:
    """Refuse a causal LM that rows of several examples cannot train; it is tried, on a few tokens.

    Rows have no attention mask: where positions restart, attention must too, and not every architecture's
    does. Nor does `load.disable_dropout` reach dropout that is no module. Random state stays as it was.

    Args:
        model: as loaded, in float32, before it is wrapped or sharded.

    Raises:
        InvalidInput: an example's log-probabilities depend on its neighbour, or differ in train mode.
    """
    if any(p.is_meta for p in model.parameters()):
        return  # under FSDP one process of a machine reads the weights, and looks
    vocabulary = cast(Any, model).config.get_text_config().vocab_size
    ids = torch.randint(vocabulary, (2, NUM_TOKENS), generator=torch.Generator().manual_seed(0)).tolist()
    examples = [Example(tuple(row), (False,) + (True,) * (NUM_TOKENS - 1)) for row in ids]
    was_training, rows = model.training, (pack(examples), pack(examples[1:]))
    with torch.random.fork_rng(devices=[]):
        packed, alone = (row_logprobs(model.eval(), row) for row in rows)
        trained = row_logprobs(model.train(), rows[0])
    model.train(was_training)
    if float((packed[-len(alone) :] - alone).abs().max()) > TOLERANCE:
        raise InvalidInput(
            "an example's log-probabilities under the base depend on what is packed before it: its layers do "
            "not restart where position ids do; give a base whose attention does, as Llama's or Qwen's",
            param="base",
        )
    if float((trained - packed).abs().max()) > TOLERANCE:
        raise InvalidInput(
            "the base's log-probabilities are others in training, by dropout or other noise, which would be "
            "in every ratio; set its probabilities in the base's config.json to 0",
            param="base",
        )
