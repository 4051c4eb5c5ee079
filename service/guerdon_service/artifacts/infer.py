"""A manifest for a plain Hugging Face folder, and a sentence for everything that was inferred."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from guerdon_service.artifacts.layout import Layout, read_json
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Encoding, Head, Manifest, Norm, Profile, check_manifest
from guerdon_service.core.positions import reserved_positions
from guerdon_service.core.tokenizer_files import check_tokenizer

MAX_INFERRED_TOKENS = 16_384
"""Cap on an inferred `max_tokens`; what long-context reward models are trained with, less than they claim."""
FALLBACK_TOKENS = 512
"""`max_tokens` where neither configuration nor tokenizer names one."""

_HEAD_WEIGHT = re.compile(r"(^|\.)(score|classifier|classifier\.out_proj)\.weight$")


def infer_manifest(layout: Layout, name: str, digest: str) -> Manifest:
    """Manifest of a ``*ForSequenceClassification`` folder, or of a PEFT adapter of one.

    Raises:
        InvalidInput: no such head, remote code needed, no tokenizer, or a decoder without a chat template.
    """
    config = _config(layout)
    raw_config = read_json(layout.base_folder / "config.json")
    names, heads_why = _head_names(layout, config, raw_config)
    norm, norm_why = _norm(raw_config, len(names))
    max_tokens, tokens_why = _max_tokens(layout, config)
    encoding, encoding_why = _encoding(layout, config)
    manifest = Manifest(
        name=name,
        version=digest[:12],
        digest=digest,
        heads=tuple(Head(n, n, norm) for n in names),
        profiles={"default": Profile({n: 1 / len(names) for n in names})},
        max_tokens=max_tokens,
        encoding=encoding,
        inferred=(
            "there is no manifest.json; version is the digest's first 12 digits",
            heads_why,
            norm_why,
            _profile_why(names),
            tokens_why,
            encoding_why,
            "pooling: the token that transformers pools",
            "calibration: none; a probability is the logistic of the margin and its interval 0 to 1, as"
            " it is not known; run guerdon calibrate",
        ),
    )
    check_manifest(manifest)
    return manifest


def _config(layout: Layout) -> PretrainedConfig:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            layout.base_folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as err:  # transformers raises whatever the file provokes
        raise InvalidInput(
            f"config.json of {layout.base_folder.name} cannot be used without remote code "
            f"({type(err).__name__}); serve an architecture that transformers itself knows",
            param="source",
        ) from err
    return config


def _head_names(
    layout: Layout, config: PretrainedConfig, raw_config: Mapping[str, Any]
) -> tuple[list[str], str]:
    labels = [label for _, label in sorted((config.id2label or {}).items())]
    classifies = any(a.endswith("ForSequenceClassification") for a in raw_config.get("architectures") or ())
    trained = _adapter_heads(layout)
    if trained is None and not classifies:
        raise InvalidInput(
            f"{layout.folder.name} has no reward head: neither config.json's architectures name a "
            "*ForSequenceClassification, nor does the adapter hold a score or classifier; save it with its "
            "head (PEFT: modules_to_save)",
            param="source",
        )
    num_heads = trained or len(labels)
    if num_heads == 1:
        return ["reward"], "heads: one output, named reward"
    if num_heads == len(labels) and len(set(labels)) == num_heads:
        return labels, f"heads: {num_heads} outputs, named by id2label in index order"
    return [f"head_{i}" for i in range(num_heads)], f"heads: {num_heads} outputs, named by index"


def _profile_why(names: list[str]) -> str:
    """Labels are never read for their meaning: of {unsafe, safe} too the reward is the mean of both."""
    if len(names) == 1:
        return "profile: default, the one head"
    return (
        f"profile: default, the mean of {len(names)} heads ({', '.join(names)}), also where they are classes"
        " of which one excludes the other; name weights in profiles of a manifest.json"
    )


def _adapter_heads(layout: Layout) -> int | None:
    """Rows of the head that the adapter brings; None without an adapter, or where it brings none."""
    weights = layout.adapter_folder and layout.adapter_folder / "adapter_model.safetensors"
    if not weights or not weights.is_file():
        return None
    try:
        with safe_open(str(weights), framework="numpy") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - not a mapping
                if _HEAD_WEIGHT.search(key):
                    return int(tensors.get_slice(key).get_shape()[0])
    except SafetensorError as err:
        raise InvalidInput(f"{weights.name} is damaged ({err}); copy it again", param="source") from err
    return None


def _norm(raw_config: Mapping[str, Any], num_heads: int) -> tuple[Norm, str]:
    """`mean` and `std` of one head, which some trainers write into `config.json`."""
    mean, std = (
        float(v) if isinstance(v := raw_config.get(k), int | float) else math.nan for k in ("mean", "std")
    )
    if num_heads == 1 and math.isfinite(mean) and math.isfinite(std) and std > 0:
        return Norm(mean, std), f"normalise: mean {mean} and std {std} from config.json"
    return Norm(), "normalise: none; attributes are the raw outputs"


def _max_tokens(layout: Layout, config: PretrainedConfig) -> tuple[int, str]:
    text = config.get_text_config()
    bounds = {f"cap {MAX_INFERRED_TOKENS}": MAX_INFERRED_TOKENS}
    positions = getattr(text, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        offset = reserved_positions(text)
        bounds[f"max_position_embeddings {positions}, {offset} reserved"] = positions - offset
    limit = _tokenizer_config(layout).get("model_max_length")
    if isinstance(limit, int) and 0 < limit < 10**9:  # transformers writes 10**30 for "unknown"
        bounds[f"tokenizer model_max_length {limit}"] = limit
    if len(bounds) == 1:
        return FALLBACK_TOKENS, f"max_tokens: {FALLBACK_TOKENS}, as neither config nor tokenizer names one"
    why = min(bounds, key=lambda k: bounds[k])
    return bounds[why], f"max_tokens: {bounds[why]} ({why})"


def _encoding(layout: Layout, config: PretrainedConfig) -> tuple[Encoding, str]:
    check_tokenizer(_tokenizer_folder(layout), "tokenizer")
    template = _chat_template(layout)
    if template is not None:
        frozen = "; strftime_now tells it a fixed date" if "strftime_now" in template else ""
        return "template", f"encoding: the tokenizer's chat template{frozen}"
    encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )
    if encoder:
        return "pair", "encoding: tokenizer(prompt, response), as there is no chat template"
    raise InvalidInput(
        f"{layout.folder.name} is a {config.model_type} decoder without a chat template, and one is never "
        "guessed; save the one that it was trained with in the folder, as chat_template.jinja",
        param="manifest.template",
    )


def _chat_template(layout: Layout) -> str | None:
    for folder in (layout.folder, layout.base_folder):
        if (folder / "chat_template.jinja").is_file():
            return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    template = _tokenizer_config(layout).get("chat_template")
    return None if template is None else str(template)


def _tokenizer_config(layout: Layout) -> dict[str, Any]:
    path = _tokenizer_folder(layout) / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def _tokenizer_folder(layout: Layout) -> Path:
    """The folder whose tokenizer is used: the artifact's own where it has one, else the base's."""
    return layout.folder if (layout.folder / "tokenizer.json").is_file() else layout.base_folder
