"""The back end of implicit rewards: how much likelier a policy finds a response than its reference does.

Both models run the packed forward of `packed`, for the same purity: a batch is one row, decoders in canonical
split form, and every product has a multiple of `ROW_MULTIPLE` rows, the vocabulary's included.
"""

from collections.abc import Sequence
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from guerdon_service.backends.adapter import merge_adapter
from guerdon_service.backends.arithmetic import torch_arithmetic
from guerdon_service.backends.attention import PACKED
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.families import family_of, runs_packed
from guerdon_service.backends.layout import Layout, plan_layout, split_batch
from guerdon_service.backends.load import WEIGHT_ERRORS, read_weights
from guerdon_service.backends.native_bf16 import computed_in
from guerdon_service.backends.packed import padded_rows
from guerdon_service.backends.placed import placed
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.safe import read_config, weight_files
from guerdon_service.backends.torch_backend import DTYPES, check_placement, rows_on
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import ImplicitReward
from guerdon_service.core.ports import ForwardStats

MAX_ROWS = 1024
"""Rows of one forward: its logits are as many times the vocabulary."""


class ImplicitBackend:
    """A policy and its reference, both loaded.

    Not thread-safe: only the engine's back-end thread calls `forward`.

    Args:
        fixed_rows: rows of every forward (CUDA, where kernels are chosen by shape); None: as many as the
            batch needs.
    """

    name = "torch"
    num_heads = 1
    shares_prefix = True

    def __init__(
        self,
        policy: PreTrainedModel,
        reference: PreTrainedModel,
        rule: ImplicitReward,
        dtype: str,
        fixed_rows: int | None = None,
    ) -> None:
        self.dtype = dtype
        self._models: tuple[PreTrainedModel, ...] = (policy, reference)
        self._rule = rule
        self._fixed_rows = fixed_rows
        self._num_threads = torch.get_num_threads()
        self.arithmetic = torch_arithmetic(policy.device, self._num_threads)

    @staticmethod
    def load(
        artifact: Artifact, reference_folder: Path, dtype: str = "float32", device: str = "cpu"
    ) -> "ImplicitBackend":
        """Load both models.

        Args:
            reference_folder: the artifact's base as plain safetensors.

        Raises:
            InvalidInput: no such dtype or device, or unsafe, unsupported, damaged or missing weights.
        """
        assert artifact.manifest.implicit is not None, "the loader knows which artifacts are implicit rewards"
        check_placement(dtype, device)
        policy, reference = _policy(artifact, reference_folder), _load(reference_folder)
        for model in (policy, reference):
            for parameter in model.parameters():  # buffers (rotary frequencies) keep fp32
                rounded = parameter.data.to(device=device, dtype=DTYPES[dtype])
                parameter.data = rounded.to(computed_in(DTYPES[dtype], device))
            model.eval().requires_grad_(False).to(device)
            if device == "cpu":
                prepack(model)
        rule = artifact.manifest.implicit
        return ImplicitBackend(policy, reference, rule, dtype, rows_on(device, artifact.manifest))

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        """Score a batch: float32 [B, 1], and what it cost in rows of one of the two models."""
        assert self._models, "forward after close"
        if torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)
        scores: list[float] = []
        computed = 0
        with torch.inference_mode():
            for pack in split_batch(batch, self._fixed_rows or MAX_ROWS, shared=True):
                ratios, size = self._ratios(pack)
                lengths = [e.num_tokens - e.prefix_len for e in pack]
                parts = np.split(ratios, np.cumsum(lengths)[:-1])
                scores += [self._reward(part) for part in parts]
                computed += size
        stats = ForwardStats(sum(e.num_tokens for e in batch), computed)
        return np.array(scores, dtype=np.float32)[:, None], stats

    def _reward(self, ratios: NDArray[np.float64]) -> float:
        total = fsum(ratios)
        return self._rule.beta * (total / len(ratios) if self._rule.per_token else total)

    def _ratios(self, pack: Sequence[Encoded]) -> tuple[NDArray[np.float64], int]:
        """``log policy - log reference`` of every response token, and the rows computed."""
        layout = plan_layout(pack, split=True)
        policy, reference = (token_logprobs(m, pack, layout, self._fixed_rows) for m in self._models)
        size = self._fixed_rows or padded_rows(layout.segments[-1].end)
        return (policy.double() - reference.double()).cpu().numpy(), size

    def close(self) -> None:
        """Free the weights."""
        self._models = ()


def token_logprobs(
    model: PreTrainedModel, pack: Sequence[Encoded], layout: Layout, fixed_rows: int | None
) -> Tensor:
    """Log-probability of every response token of a packed batch: float32 [R], in nats."""
    length = layout.segments[-1].end
    size = fixed_rows or padded_rows(length)

    def row(parts: Sequence[NDArray[Any]]) -> Tensor:
        packed = np.zeros((1, size), dtype=np.int64)
        packed[0, :length] = np.concatenate(parts)[layout.source]
        return placed(packed, model.device)

    predictors = [
        place.row(token - 1)
        for place, encoded in zip(layout.places, pack, strict=True)
        for token in range(encoded.prefix_len, encoded.num_tokens)
    ]
    kept = torch.zeros(fixed_rows or padded_rows(len(predictors)), dtype=torch.long)
    kept[: len(predictors)] = torch.tensor(predictors)
    logits: Tensor = (
        model(
            input_ids=row([e.input_ids for e in pack]),
            position_ids=row([np.arange(e.num_tokens) for e in pack]),
            packed=PackedMasks(layout.segments),
            use_cache=False,
            logits_to_keep=kept.to(model.device),
        )
        .logits[0]
        .float()
    )
    targets = torch.zeros_like(kept)
    targets[: len(predictors)] = torch.from_numpy(np.concatenate([e.input_ids[e.prefix_len :] for e in pack]))
    picked = logits.gather(1, targets.to(model.device)[:, None])[:, 0]
    return (picked - torch.logsumexp(logits, 1))[: len(predictors)]


def _policy(artifact: Artifact, reference_folder: Path) -> PreTrainedModel:
    if artifact.adapter_folder is not None:
        return merge_adapter(_load(reference_folder), artifact.adapter_folder, frozenset())
    if not (artifact.folder / "policy").is_dir():
        raise InvalidInput(
            f"{artifact.folder.name} holds neither adapter/ nor policy/; write it with "
            "guerdon train implicit",
            param="source",
        )
    return _load(artifact.folder / "policy")


def _load(folder: Path) -> PreTrainedModel:
    """A causal language model in fp32 with packed attention."""
    weight_files(folder)
    config = read_config(folder, 1)
    if not (family_of(config).causal and runs_packed(config)):
        raise InvalidInput(
            f"{config.model_type} of {folder.name} is no language model whose attention can be packed; give "
            "a policy of another architecture",
            param="source",
        )
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    try:
        model, missing = read_weights(model_class, folder, config, PACKED)
    except (*WEIGHT_ERRORS, SafetensorError) as err:
        raise InvalidInput(
            f"the weights of {folder.name} do not fit its config.json ({err})", param="source"
        ) from err
    if missing:
        raise InvalidInput(
            f"the weights of {folder.name} hold no {min(missing)}; save the whole model",
            param="source",
        )
    return model  # type: ignore[no-any-return]
