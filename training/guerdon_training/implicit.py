"""Recipe: the implicit reward of a policy that DPO trained, as a reward artifact that can be served.

Nothing is trained. The policy's and its reference's weights are put side by side; normalisation and
temperature are fitted on the valid pairs, and the test pairs are scored once, at the end.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Head, Manifest, PackageBase, Profile, check_manifest
from guerdon_service.core.manifest import ImplicitReward as Rule
from guerdon_service.core.statistics.calibration_fit import check_prompts, fit_norm, fit_slope
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import seal
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.data import PreferencePair, file_sha256, read_decided
from guerdon_training.distributed import check_alone
from guerdon_training.environment import environment
from guerdon_training.evaluate import Judged, measure
from guerdon_training.golden import golden_text
from guerdon_training.implicit_card import render_card
from guerdon_training.judge import judge
from guerdon_training.policy.artifact import package_of, seal_whole
from guerdon_training.policy.base import package_gguf, policy_base
from guerdon_training.policy.implicit_source import ImplicitSource, open_implicit_reward
from guerdon_training.policy.select import select
from guerdon_training.problems import refuse_first
from guerdon_training.splits import check_splits
from guerdon_training.standard_error import say

WEIGHTS = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")


@dataclass(frozen=True, slots=True)
class ImplicitData:
    """Files of pairs, neither of which the policy was trained on; `valid` normalises and calibrates.

    sources: keep only these; empty keeps all. max_pairs: of each file, drawn with the seed; 0 keeps all.
    """

    valid: str
    test: str
    sources: tuple[str, ...] = ()
    max_pairs: int = 0

    @property
    def files(self) -> dict[str, str]:
        """By split."""
        return {"valid": self.valid, "test": self.test}


@dataclass(frozen=True, slots=True)
class ImplicitConfig:
    """Everything that `guerdon train implicit` reads.

    policy: folder that `guerdon train dpo` wrote; beta, length normalisation, reference and `max_tokens` are
        what it was trained with.
    attribute: what the reward is called.
    """

    name: str
    version: str
    output: str
    policy: str
    data: ImplicitData
    attribute: str = "preference"
    seed: int = 0
    num_threads: int = 2


def train_implicit(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Measure and write the artifact that the YAML file at `config_path` describes.

    Raises:
        InvalidInput: the config, the data or the policy cannot be used; nothing was written then.
    """
    check_alone()
    config = read_config(config_path, ImplicitConfig, overrides)
    torch.set_num_threads(config.num_threads)
    source, folder = open_implicit_reward(Path(config.policy), torch.device("cpu")), Path(config.output)
    _check(config, source)

    # 1. The scores of held-out pairs.
    pairs, num_ties = _read_pairs(config)
    check_splits(config.data.files, {split: ((p.id, p.prompt) for p in pairs[split]) for split in pairs})
    judged = {split: judge(source, found) for split, found in pairs.items()}

    # 2. Normalise and calibrate on valid; measure on test.
    chosen, rejected = _scores(judged["valid"], config.data.valid)
    norm = fit_norm(np.concatenate([chosen, rejected]))
    fitted = [j.pair for j in judged["valid"] if j.scores is not None]
    clusters, shares = [p.cluster for p in fitted], [p.share for p in fitted]
    check_prompts(len(clusters), len(set(clusters)), config.data.valid, param="data.valid")
    calibration = fit_slope((chosen - rejected) / norm.std, clusters, shares, param="data.valid")
    figures = {split: {"pooled": asdict(measure(found))} for split, found in judged.items()}
    description = source.description
    manifest = Manifest(
        name=config.name,
        version=config.version,
        heads=(Head(config.attribute, config.attribute, norm),),
        profiles={config.attribute: Profile({config.attribute: 1.0})},
        max_tokens=source.manifest.max_tokens,
        encoding="completion",
        implicit=Rule(description.beta, description.per_token),
        base=_base(source),
        calibration=calibration,
        parents=_parents(config, source),
        metrics={config.attribute: figures},
    )
    check_manifest(manifest)

    # 3. Write the artifact: both sets of weights, golden scores, card.
    golden = golden_text(lambda text: source.score([text])[0])
    with whole_folder(folder):
        (folder / "config.yaml").write_text(config_yaml(config), "utf-8")
        (folder / "golden.jsonl").write_text(golden, "utf-8")
        (folder / "MODEL_CARD.md").write_text(render_card(manifest, num_ties), "utf-8")
        source.tokenizer.save_pretrained(folder)
        _copy_weights(Path(config.policy), folder, source)
        if manifest.base is None:
            return seal_whole(folder, manifest)
        return seal(folder, manifest, package_gguf(manifest.base.package).parent)


def _check(config: ImplicitConfig, source: ImplicitSource) -> None:
    trained = source.manifest.parents.get("data_sha256", {}).get("train")
    for split, file in config.data.files.items():
        if not Path(file).is_file():
            raise InvalidInput(
                f"config data.{split}: {file} does not exist; give a file", param=f"data.{split}"
            )
        if file_sha256(Path(file)) == trained:
            raise InvalidInput(
                f"config data.{split} is what {source.manifest.name} was trained on; give held-out pairs",
                param=f"data.{split}",
            )
    problems = {
        "output must be another folder than policy": Path(config.output).resolve()
        == Path(config.policy).resolve(),
        "data.test must be another file than data.valid": config.data.test == config.data.valid,
        "policy has a chat template that reads the clock, and a served score must not; fix its date": (
            "strftime_now" in str(source.tokenizer.chat_template)
        ),
    }
    refuse_first(problems)


def _read_pairs(config: ImplicitConfig) -> tuple[dict[str, list[PreferencePair]], dict[str, int]]:
    """By split, those that the config asks for; and ``num_SPLIT_ties``, the ties in its file."""
    data = config.data
    pairs: dict[str, list[PreferencePair]] = {}
    num_ties: dict[str, int] = {}
    for split, file in data.files.items():
        found, num_ties[f"num_{split}_ties"] = read_decided(file, say)
        pairs[split] = select(found, data.sources, data.max_pairs, config.seed, file)
    return pairs, num_ties


def _scores(judged: Sequence[Judged], file: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Float64 [N] of the chosen and of the rejected, pairs with a response that does not fit left out."""
    found = np.array([j.scores for j in judged if j.scores is not None])
    if len(found) < 2:
        raise InvalidInput(f"fewer than 2 pairs of {file} fit the policy; give more", param="data.valid")
    return found[:, 0], found[:, 1]


def _base(source: ImplicitSource) -> PackageBase | None:
    """The reference, where a package carries it; a folder is copied into the artifact."""
    named = source.description.reference
    return None if Path(named).is_dir() else package_of(named)


def _copy_weights(policy: Path, folder: Path, source: ImplicitSource) -> None:
    for part in ("adapter", "policy", "base"):  # of a former run
        shutil.rmtree(folder / part, ignore_errors=True)
    reference = source.description.reference
    if Path(reference).is_dir():
        _copy(policy_base(reference), folder / "base")
    if source.frozen is None:
        shutil.copytree(policy / "adapter", folder / "adapter")
    else:
        _copy(policy, folder / "policy")


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for pattern in WEIGHTS:
        for path in source.glob(pattern):
            shutil.copyfile(path, target / path.name)


def _parents(config: ImplicitConfig, source: ImplicitSource) -> dict[str, Any]:
    made, description = source.manifest, source.description
    return {
        "policy": {"name": made.name, "version": made.version, "digest": made.digest},
        "reference": {"source": description.reference, "weights_sha256": description.reference_sha256},
        "data_sha256": {split: file_sha256(Path(file)) for split, file in config.data.files.items()},
        "config_sha256": hashlib.sha256(config_yaml(config).encode()).hexdigest(),
        **environment(),
    }
