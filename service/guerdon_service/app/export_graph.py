"""From a `transformers` classifier to an ONNX graph of one unpadded conversation."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from guerdon_service.backends.families import head_logits, lift_pooler, pool_of
from guerdon_service.backends.load import load_reference
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import RESPONSE_MAX_WEIGHT

OPSET = 20
"""The first with `Gelu`, which is otherwise five elementwise operators."""
MAX_INLINE_BYTES = 1_500_000_000
"""Weights beyond this lie beside the graph: a protobuf message ends at 2 GiB."""
_SAMPLE_TOKENS = 13


def export_graph(artifact: Artifact, path: Path) -> None:
    """Write the fp32 graph, its adapter merged.

    Inputs, int64: ``input_ids`` [1, S], ``token_type_ids`` [1, S] where the model and the manifest's encoding
    have types, and for the manifest's pooling ``prefix_len`` [1], ``pooled_index`` [1] or, where all tokens
    are averaged, nothing. Output: ``logits`` float32 [1, H], raw.

    Raises:
        InvalidInput: the artifact is refused, or the architecture cannot be exported.
    """
    model = load_reference(artifact)
    inputs = _sample(artifact, model)
    tokens = {1: torch.export.Dim.DYNAMIC}
    try:
        with _quiet():
            torch.onnx.export(
                _Row(model, tuple(inputs)),
                tuple(inputs.values()),
                path,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_shapes=(tuple(tokens if value.dim() == 2 else None for value in inputs.values()),),
                external_data=_num_bytes(model) > MAX_INLINE_BYTES,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as err:
        raise InvalidInput(
            f"architecture {model.config.model_type} cannot be exported to ONNX "
            f"({str(err).splitlines()[0]}); serve it with the torch back end",
            param="model",
        ) from err


class _Row(nn.Module):
    """One conversation: the trunk, the pooled row, the head."""

    def __init__(self, model: PreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        lift_pooler(model)
        self.model = model
        self.names = names

    def forward(self, *values: Tensor) -> Tensor:
        inputs: dict[str, Any] = dict(zip(self.names, values, strict=True))
        index, prefix_len = (inputs.pop(name, None) for name in ("pooled_index", "prefix_len"))
        if getattr(self.model.config, "use_cache", False):
            inputs["use_cache"] = False
        hidden = self.model.base_model(**inputs).last_hidden_state
        if prefix_len is not None:
            row = _pooled_response(hidden, prefix_len)
        else:
            row = hidden.mean(1) if index is None else hidden[0].index_select(0, index)
        return head_logits(self.model, row)


def _pooled_response(hidden: Tensor, prefix_len: Tensor) -> Tensor:
    """`pooling.pooled_response` by a mask: a slice of unknown length is no graph. [1, S, D] to [1, D]."""
    of_prompt = (torch.arange(hidden.shape[1]) < prefix_len)[None, :, None]
    total = hidden.masked_fill(of_prompt, 0.0).sum(1)
    maximum = hidden.masked_fill(of_prompt, -torch.inf).amax(1)
    return total / (hidden.shape[1] - prefix_len) + RESPONSE_MAX_WEIGHT * maximum


def _sample(artifact: Artifact, model: PreTrainedModel) -> dict[str, Tensor]:
    ids = torch.arange(1, 1 + _SAMPLE_TOKENS)[None]
    inputs = {"input_ids": ids}
    if artifact.manifest.encoding == "pair" and getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.zeros_like(ids)
    pooling = artifact.manifest.pooling
    if pooling == "response":
        inputs["prefix_len"] = torch.tensor([_SAMPLE_TOKENS // 2])
    elif pool_of(model.config) != "mean" or pooling == "last":
        inputs["pooled_index"] = torch.tensor([_SAMPLE_TOKENS - 1])
    return inputs


def _num_bytes(model: PreTrainedModel) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of every operator of packages that are not installed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
