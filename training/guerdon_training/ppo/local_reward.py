"""Rewards from an artifact on this machine: the numbers that a service would give, without one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase

from guerdon_service.core.combine import combine
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, Profile, from_json
from guerdon_training.artifact import MANIFEST, check_seal
from guerdon_training.config import BaseConfig
from guerdon_training.data import file_sha256
from guerdon_training.encode import PairTokens
from guerdon_training.forward import by_budget
from guerdon_training.model import base_folder, load_tokenizer, unreported
from guerdon_training.pooled import Pooled
from guerdon_training.ppo.reward_text import Encode, encoder_of

MAX_BATCH_TOKENS = 8192
"""Padded tokens of one forward; changes rounding only."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A reward, and the standard deviation of the ensemble members behind it."""

    reward: float
    std: float


@dataclass(frozen=True, slots=True)
class LocalReward:
    """`RewardSource` over a `*ForSequenceClassification`, in float32."""

    manifest: Manifest
    profile_name: str
    profile: Profile
    encode: Encode
    model: Any
    pad_token_id: int | None

    @property
    def identity(self) -> Mapping[str, str]:
        """Name, version, digest and profile."""
        m = self.manifest
        return {"name": m.name, "version": m.version, "digest": m.digest, "profile": self.profile_name}

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """See `RewardSource.score`."""
        return [None if s is None else s.reward for s in self.spread(conversations)]

    def spread(self, conversations: Sequence[Conversation]) -> list[Spread | None]:
        """The same with the spread of the heads that share an attribute."""
        encoded = [self.encode(c) for c in conversations]
        scores: list[Spread | None] = [None] * len(encoded)
        kept = [(i, tokens) for i, tokens in enumerate(encoded) if tokens is not None]
        lengths = [len(tokens.input_ids) for _, tokens in kept]
        order = sorted(range(len(kept)), key=lengths.__getitem__)
        budget = MAX_BATCH_TOKENS if self.pad_token_id is not None else 1  # no pad: rows alone
        for batch in by_budget(lengths, order, budget):
            raw = self._raw([kept[j][1] for j in batch])
            for j, row in zip(batch, raw.numpy().astype(np.float32), strict=True):
                found = combine(
                    row, self.manifest, self.profile, tokens=lengths[j], truncated=False, cached=False
                )
                scores[kept[j][0]] = Spread(found.reward, found.std)
        return scores

    @torch.no_grad()
    def _raw(self, rows: Sequence[PairTokens]) -> Tensor:
        """Head outputs, float32 [B, H]."""
        inputs = _collate(rows, self.pad_token_id or 0)
        device = next(self.model.parameters()).device
        if getattr(self.model.config, "type_vocab_size", 0) < 2 or self.manifest.encoding != "pair":
            del inputs["token_type_ids"]
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        if self.manifest.pooling != "last":
            logits: Tensor = Pooled(self.model, self.manifest.pooling)(**inputs).logits
        else:
            states = self.model.base_model(**inputs).last_hidden_state
            last = torch.tensor([len(r.input_ids) - 1 for r in rows], device=device)
            logits = self.model.score(states[torch.arange(len(rows), device=device), last])
        return logits.float().cpu()


def open_local_reward(folder: Path, profile: str | None, device: torch.device) -> LocalReward:
    """Load a reward artifact that `guerdon train reward` wrote, its adapter merged.

    Raises:
        InvalidInput: no reward artifact there, one that was changed since, other base weights, or a rule that
            only the service knows.
    """
    manifest = _read_manifest(folder)
    base, adapter = _base(folder, manifest), folder / "adapter"
    check_seal(folder, manifest, base if manifest.base else None)
    tokenizer: PreTrainedTokenizerBase = load_tokenizer(
        folder if (folder / "tokenizer.json").is_file() else base
    )
    model = _classifier(base, adapter, manifest)
    fits = {"last": hasattr(model, "score"), "response": model.config.model_type == "bert"}
    if not fits.get(manifest.pooling, True):
        raise InvalidInput(
            f"reward artifact {manifest.name} pools {manifest.pooling!r}, which only the service does for "
            f"{model.config.model_type}; "
            "start guerdon serve with it and give reward.url instead of reward.artifacts",
            param="reward.artifacts",
        )
    name, weights = manifest.profile(profile)
    encode = encoder_of(manifest, tokenizer)
    ready = model.eval().requires_grad_(False).to(device)
    return LocalReward(manifest, name, weights, encode, ready, model.config.pad_token_id)


def _classifier(base: Path, adapter: Path, manifest: Manifest) -> Any:
    config = AutoConfig.from_pretrained(base)
    config.num_labels = len(manifest.heads)  # as an argument, one other than the base's is warned of
    config.num_hidden_layers = manifest.num_layers or config.num_hidden_layers
    with unreported():
        model, report = AutoModelForSequenceClassification.from_pretrained(
            base, config=config, dtype=torch.float32, output_loading_info=True
        )
    lost = sorted(set(report["missing_keys"]) - _adapter_tensors(adapter))
    if lost:
        raise InvalidInput(
            f"reward artifact {manifest.name} holds no {lost[0]}, and a random one would be used; "
            "write it again with its head",
            param="reward.artifacts",
        )
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload() if adapter.is_dir() else model


def _adapter_tensors(adapter: Path) -> set[str]:
    """Names of the base's parameters that the adapter brings whole."""
    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        return set()
    with safe_open(path, framework="pt") as tensors:
        return {name.removeprefix("base_model.model.") for name in tensors.keys()}  # noqa: SIM118


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise InvalidInput(
            f"{folder} holds no {MANIFEST}; give an artifact's folder that guerdon train reward wrote, or "
            "(train ppo) the reward.url of a service with the model",
            param="reward.artifacts",
        )
    manifest = from_json(path.read_text("utf-8"))
    if manifest.kind != "reward":
        raise InvalidInput(f"{folder} is a {manifest.kind}; give a reward artifact", param="reward.artifacts")
    if manifest.implicit is not None:
        raise InvalidInput(
            f"{folder} is an implicit reward, which has no head; give the folder of the policy, that guerdon "
            "train dpo wrote, or serve it and give reward.url",
            param="reward.artifacts",
        )
    return manifest


def _base(folder: Path, manifest: Manifest) -> Path:
    if manifest.base is None:
        return folder / "base" if (folder / "base").is_dir() else folder
    base = base_folder(BaseConfig(manifest.base.package, manifest.base.subfolder))
    if file_sha256(base / "model.safetensors") != manifest.base.weights_sha256:
        raise InvalidInput(
            f"package {manifest.base.package} holds other weights than {manifest.name} was trained on; "
            "install the version that its manifest pins",
            param="reward.artifacts",
        )
    return base


def _collate(rows: Sequence[PairTokens], pad_token_id: int) -> dict[str, Tensor]:
    width = max(len(r.input_ids) for r in rows)
    pads = [width - len(r.input_ids) for r in rows]
    ids = [[*r.input_ids, *[pad_token_id] * p] for r, p in zip(rows, pads, strict=True)]
    mask = [[1] * len(r.input_ids) + [0] * p for r, p in zip(rows, pads, strict=True)]
    types = [
        [0] * r.prefix_len + [1] * (len(r.input_ids) - r.prefix_len) + [0] * p
        for r, p in zip(rows, pads, strict=True)
    ]
    named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: torch.tensor(rows) for name, rows in named.items()}
