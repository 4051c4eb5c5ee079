"""A policy as an artifact folder: whole weights that plain transformers loads, or an adapter of a package."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import peft
from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import artifact_digest, manifest_digest
from guerdon_service.core.manifest import Manifest, PackageBase, check_manifest, to_json
from guerdon_service.core.whole_file import write_whole
from guerdon_training.artifact import MANIFEST, remove_exports, seal, tidy_adapter
from guerdon_training.config_file import config_yaml
from guerdon_training.data import file_sha256
from guerdon_training.environment import environment
from guerdon_training.policy.base import package_gguf, weights_sha256
from guerdon_training.policy.config import SAVES

RUN = ".run"
"""Subfolder of an artifact for what a run needs while it lasts; hidden, so no digest covers it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the weights were trained from.

    source: as the config says it. folder: where `policy_base` found it.
    """

    source: str
    folder: Path

    def describe(self) -> dict[str, str]:
        """For `manifest.parents`: the source, its weights, and its own manifest's digest where it has one."""
        found = {"source": self.source, "weights_sha256": weights_sha256(self.folder)}
        manifest = self.folder / MANIFEST
        return found | ({"manifest_sha256": file_sha256(manifest)} if manifest.is_file() else {})


def check_save(save: str, source: str, rank: int) -> None:
    """Refuse, before anything is trained, a way to save that would not work.

    Raises:
        InvalidInput: unknown, an adapter where none is trained, or one whose base is no package and so could
            not be found again.
    """
    if save not in SAVES:
        raise InvalidInput(f"config save is {save!r}; use one of {', '.join(SAVES)}", param="save")
    if save == "adapter" and rank == 0:
        raise InvalidInput('config save is "adapter" without lora.rank; use save = "merged"', param="save")
    if save == "adapter" and Path(source).is_dir():
        raise InvalidInput(
            f'config save is "adapter", but the base {source} is a folder, which the artifact could not find '
            'on another machine; use save = "merged"',
            param="save",
        )


def write_policy(
    folder: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase, manifest: Manifest, save: str
) -> Manifest:
    """Write weights, tokenizer with chat template and the sealed manifest.

    Adapters are merged into `model` itself for ``merged``, so measure before. Other files of the artifact
    must be in `folder` already; what a former run left of weights is removed.

    Args:
        manifest: of kind ``policy``; ``adapter`` needs its `base`.
        save: ``merged`` or ``adapter``.

    Returns:
        The manifest with its digest.
    """
    check_manifest(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    remove_exports(folder)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    for stale in folder.glob("model*.safetensors*"):
        stale.unlink()
    if save == "adapter":
        assert manifest.base is not None, "an adapter needs manifest.base"
        _save_adapter(model, folder / "adapter", manifest.base.package)
        return seal(folder, manifest, package_gguf(manifest.base.package).parent)
    whole: Any = model.merge_and_unload() if isinstance(model, peft.PeftModel) else model
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return seal_whole(folder, manifest)


def package_of(source: str) -> PackageBase:
    """`manifest.base` of an adapter: the package, pinned by the SHA-256 of its GGUF."""
    gguf = package_gguf(source)
    return PackageBase(source, "", file_sha256(gguf))


def _save_adapter(model: nn.Module, folder: Path, package: str) -> None:
    assert isinstance(model, peft.PeftModel), "check_save lets an adapter through only with lora.rank"
    for config in model.peft_config.values():
        config.base_model_name_or_path = package  # not a path of this machine
    model.save_pretrained(str(folder), save_embedding_layers=False)  # they never have adapters
    tidy_adapter(folder)


def seal_whole(folder: Path, manifest: Manifest) -> Manifest:
    """As `artifact.seal`, for an artifact that stands on no base; large files are read in pieces."""
    files = {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
    digests = {
        relative.as_posix(): file_sha256(path)
        for relative, path in files.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
    }
    digests[MANIFEST] = manifest_digest(manifest)
    sealed = replace(manifest, digest=artifact_digest(digests))
    write_whole(folder / MANIFEST, to_json(sealed))
    return sealed


def parents(origin: Origin, config: Any, data: dict[str, str]) -> dict[str, Any]:
    """Everything that the weights were made from, for `manifest.parents`.

    Args:
        config: the resolved config; its digest is that of the artifact's ``config.yaml``.
        data: SHA-256 of each data file by split.
    """
    return {
        "data_sha256": data,
        "config_sha256": hashlib.sha256(config_yaml(config).encode()).hexdigest(),
        "config": json.loads(json.dumps(asdict(config))),  # as it will be read from the manifest
        "base": origin.describe(),
        **environment(),
    }
