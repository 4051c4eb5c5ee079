"""A batch of episodes: prompts, sampled responses, and their text as the reward model reads it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError
from guerdon_training.policy.encode import Example
from guerdon_training.policy.rows import fill, pack
from guerdon_training.ppo.actor_critic import ActorCritic, Evaluated
from guerdon_training.ppo.config import RolloutConfig
from guerdon_training.ppo.prompts import Prompt
from guerdon_training.ppo.sample import sample_responses, uniforms


@dataclass(frozen=True, slots=True)
class Rollout:
    """B episodes; tensors on the CPU, shapes as `ppo.sample.Responses`.

    conversations: the response ends before its first EOS.
    examples: prompt and response, EOS included, for packing.
    """

    conversations: tuple[Conversation, ...]
    examples: tuple[Example, ...]
    mask: Tensor
    logprobs: Tensor
    finished: Tensor


def row_seed(seed: int, update: int, row: int) -> int:
    """Seed of one response; distinct over updates, rows and so processes."""
    return int.from_bytes(blake2b(f"{seed}/{update}/{row}".encode(), digest_size=7).digest(), "little")


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every token that ends a response: the tokenizer's EOS and those of the generation config."""
    config = getattr(model, "generation_config", None)
    named = getattr(config, "eos_token_id", None)
    listed = named if isinstance(named, list) else [] if named is None else [named]
    return tuple(dict.fromkeys([tokenizer.eos_token_id, *listed]))


def roll_out(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    config: RolloutConfig,
) -> Rollout:
    """One response per prompt and seed; equal seeds give equal noise, whatever the batch.

    Raises:
        GuerdonError: the policy is broken: a log-probability is not finite.
    """
    ends = end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    noise = uniforms(seeds, config.max_response_tokens)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))  # like lengths pad least
    back = torch.tensor(order).argsort()
    parts = []
    for first in range(0, len(prompts), config.batch_size):
        taken = order[first : first + config.batch_size]
        parts.append(
            sample_responses(
                model,
                [prompts[i].ids for i in taken],
                noise[taken],
                temperature=config.temperature,
                top_p=config.top_p,
                eos_token_ids=ends,
                pad_token_id=pad,
            )
        )
    tokens, mask, logprobs, finished = (
        torch.cat([getattr(p, name) for p in parts]).cpu()[back]
        for name in ("tokens", "mask", "logprobs", "finished")
    )
    if not bool(torch.isfinite(logprobs).all()):
        raise not_finite("the policy's log-probabilities are")
    sampled = [row[: int(n)].tolist() for row, n in zip(tokens, mask.sum(1), strict=True)]
    texts = [tokenizer.decode(before_end(ids, ends), skip_special_tokens=True) for ids in sampled]
    return Rollout(
        tuple(Conversation(p.messages, str(text)) for p, text in zip(prompts, texts, strict=True)),
        tuple(as_example(p.ids, ids) for p, ids in zip(prompts, sampled, strict=True)),
        mask,
        logprobs,
        finished,
    )


def not_finite(what: str) -> GuerdonError:
    """The error to raise where a step has broken the networks."""
    return GuerdonError(
        f"{what} not finite; lower optim.learning_rate and give another output. The last checkpoint is "
        "intact",
        param="optim.learning_rate",
    )


def before_end(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Tokens before the first that ends a response; all of them where none does."""
    stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    return list(ids[:stop])


def as_example(prompt: Sequence[int], response: Sequence[int]) -> Example:
    """The response's tokens as targets."""
    return Example((*prompt, *response), (False,) * len(prompt) + (True,) * len(response))


def evaluate_episodes(
    model: ActorCritic,
    rollout: Rollout,
    temperature: float,
    max_row_tokens: int,
    *,
    with_entropy: bool = False,
) -> Evaluated:
    """What `model` says about every sampled token: float32 [B, R] on the CPU, 0 off the mask."""
    every = ((rows, 1.0) for rows in filled(rollout, max_row_tokens))
    return evaluate_rows(model, rollout, every, temperature, with_entropy=with_entropy)


def filled(rollout: Rollout, max_row_tokens: int) -> list[list[int]]:
    """Episodes, by number, that go through a model at once."""
    return fill([len(e.input_ids) for e in rollout.examples], max_row_tokens)


@torch.no_grad()
def evaluate_rows(
    model: ActorCritic,
    rollout: Rollout,
    weighted: Iterable[tuple[list[int], float]],
    temperature: float,
    *,
    with_entropy: bool,
) -> Evaluated:
    """As `evaluate_episodes` for some rows of `filled`, each times its weight; 0 for the other episodes."""
    device = next(model.parameters()).device
    found = [torch.zeros_like(rollout.mask) for _ in Evaluated._fields]
    for rows, weight in weighted:
        row = pack([rollout.examples[i] for i in rows]).to(device)
        kept = rollout.mask[rows] > 0
        for whole, part in zip(found, model(row, temperature, with_entropy), strict=True):
            block = torch.zeros_like(rollout.mask[rows])
            block[kept] = part.cpu() * weight
            whole[rows] = block
    return Evaluated(*found)
