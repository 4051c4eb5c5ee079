"""Rewards from a policy that `guerdon train dpo` wrote: no head, two forwards."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.artifact import MANIFEST, check_seal
from guerdon_training.policy.base import package_gguf, policy_base, weights_sha256
from guerdon_training.policy.encode import Example, encode_example
from guerdon_training.policy.implicit_reward import FILE, ImplicitReward, read_implicit_reward
from guerdon_training.policy.load import disable_dropout, load_tokenizer
from guerdon_training.policy.logprobs import example_logprobs
from guerdon_training.policy.packing import check_packing
from guerdon_training.policy.plan import packed
from guerdon_training.policy.rows import pack

MAX_ROW_TOKENS = 1024
"""Tokens of one packed row; changes rounding only."""


@dataclass(frozen=True, slots=True)
class ImplicitSource:
    """`ppo.reward_source.RewardSource`: ``beta (log pi - log ref)`` of the response, in float32.

    Rewards of one prompt compare; between prompts they differ by a constant that nobody knows, so whatever
    normalises over prompts must not use them as they are.

    frozen: the reference; None where it is the policy with its adapter off.
    """

    manifest: Manifest
    description: ImplicitReward
    tokenizer: PreTrainedTokenizerBase
    policy: Any
    frozen: Any | None

    @property
    def identity(self) -> Mapping[str, str]:
        """Name, version, digest, and the reference's weights."""
        m = self.manifest
        reference = self.description.reference_sha256
        return {"name": m.name, "version": m.version, "digest": m.digest, "reference_sha256": reference}

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Reward of each conversation; None where it is longer than `manifest.max_tokens` or empty."""
        found = [self._encode(c) for c in conversations]
        kept = [(i, example) for i, example in enumerate(found) if example is not None]
        scores: list[float | None] = [None] * len(found)
        for row in packed(range(len(kept)), [len(e.input_ids) for _, e in kept], MAX_ROW_TOKENS):
            rewards = self._rewards([kept[j][1] for j in row])
            for j, reward in zip(row, rewards.tolist(), strict=True):
                scores[kept[j][0]] = reward
        return scores

    def _encode(self, conversation: Conversation) -> Example | None:
        if not conversation.response:
            return None
        room = self.manifest.max_tokens
        return encode_example(self.tokenizer, conversation.prompt, conversation.response, room)

    @torch.no_grad()
    def _rewards(self, examples: Sequence[Example]) -> Tensor:
        row = pack(examples)
        logprobs = example_logprobs(self.policy, row)
        switched: AbstractContextManager[Any] = nullcontext()
        if self.frozen is None:
            switched = self.policy.disable_adapter()
        with switched:
            reference = example_logprobs(self.frozen or self.policy, row)
        counts = torch.tensor([e.num_targets for e in examples], device=logprobs.device)
        return self.description.rewards(logprobs, reference, counts).cpu()


def open_implicit_reward(folder: Path, device: torch.device) -> ImplicitSource:
    """Load a policy with its `implicit_reward.json`, and its reference.

    Raises:
        InvalidInput: no such policy there, one that was changed since, or a reference whose weights are not
            those it was trained against.
    """
    if not (folder / FILE).is_file() or not (folder / MANIFEST).is_file():
        raise InvalidInput(
            f"{folder} has no {FILE}; give the folder of a policy that guerdon train dpo wrote",
            param="reward.artifacts",
        )
    description = read_implicit_reward(folder)
    manifest = from_json((folder / MANIFEST).read_text("utf-8"))
    base = policy_base(description.reference)
    if weights_sha256(base) != description.reference_sha256:
        raise InvalidInput(
            f"the reference {description.reference} holds other weights than {manifest.name} was trained "
            "against; put back the ones that its implicit_reward.json pins",
            param="reward.artifacts",
        )
    check_seal(folder, manifest, package_gguf(manifest.base.package).parent if manifest.base else None)
    reference = _load(base, device)
    adapter = folder / "adapter"
    if adapter.is_dir():
        policy: Any = PeftModel.from_pretrained(reference, str(adapter)).eval().requires_grad_(False)
        return ImplicitSource(manifest, description, load_tokenizer(base), policy, None)
    return ImplicitSource(manifest, description, load_tokenizer(folder), _load(folder, device), reference)


def _load(folder: Path, device: torch.device) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    disable_dropout(model)
    check_packing(model)
    return model.eval().requires_grad_(False).to(device)
