"""From an artifact's folders to a classifier that is ready to score."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
from transformers.utils import logging

from guerdon_service.backends.adapter import merge_adapter
from guerdon_service.backends.attention import PACKED, register_packed_attention
from guerdon_service.backends.families import (
    check_positions,
    family_of,
    keep_layers,
    lift_pooler,
    runs_packed,
)
from guerdon_service.backends.safe import read_config, weight_files
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.one_load import ONE_LOAD

WEIGHT_ERRORS = (RuntimeError, ValueError, KeyError, OSError)
"""What `read_weights` raises besides `SafetensorError`."""


def load_classifier(artifact: Artifact, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """The artifact's model in eval mode, its trunk in `dtype`, its head in fp32.

    A LoRA adapter is merged in fp32 and the trunk cast afterwards. Buffers (rotary frequencies) keep fp32.
    Attention is `attention.PACKED` where the architecture can, its own otherwise.

    Raises:
        InvalidInput: unsafe, unsupported or damaged files, or a head (or any weight) that no file holds: a
            random one never serves.
    """
    model = _load_fp32(artifact, packed=True)
    lift_pooler(model)
    heads = family_of(model.config).head_modules
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(tuple(f"{head}." for head in heads)):
                parameter.data = parameter.data.to(dtype)
    return model.to(device)  # type: ignore[arg-type, no-any-return]


def load_reference(artifact: Artifact) -> PreTrainedModel:
    """The same model as `transformers` alone would run it: fp32, CPU, eager attention."""
    return _load_fp32(artifact, packed=False)


def _load_fp32(artifact: Artifact, *, packed: bool) -> PreTrainedModel:
    folder = artifact.base_folder
    weight_files(folder)
    config = read_config(folder, len(artifact.manifest.heads))
    check_positions(config, artifact.manifest.max_tokens)
    if artifact.manifest.num_layers is not None:
        keep_layers(config, artifact.manifest.num_layers)
    model_class: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    attention = PACKED if packed and runs_packed(config) else "eager"
    try:
        model, missing = read_weights(model_class, folder, config, attention)
    except SafetensorError as err:
        raise InvalidInput(f"a weights file is damaged ({err}); copy it again", param="source") from err
    except WEIGHT_ERRORS as err:
        raise InvalidInput(
            f"the weights do not fit config.json and {config.num_labels} head(s) ({err})", param="source"
        ) from err
    if artifact.adapter_folder is not None:
        model = merge_adapter(model, artifact.adapter_folder, missing)
    elif missing:
        raise InvalidInput(
            f"the weights hold no {min(missing)}; a random one would be served: save the whole "
            f"{model_class.__name__}, its head included",
            param="source",
        )
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def read_weights(
    model_class: Any, folder: Path, config: PretrainedConfig, attention: str
) -> tuple[Any, frozenset[str]]:
    """A model in fp32 on the CPU from safetensors alone, and the names that no file holds.

    Raises:
        SafetensorError: a file is damaged.
        WEIGHT_ERRORS: what `transformers` raises of weights that are not the config's.
    """
    register_packed_attention()
    logging.disable_progress_bar()
    with ONE_LOAD, _unreported():
        model, report = model_class.from_pretrained(
            str(folder),
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    return model, frozenset(report["missing_keys"])


@contextmanager
def _unreported() -> Iterator[None]:
    """No table of weights that a file lacks or has beside: it takes an adapter's own head for a lost one."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
