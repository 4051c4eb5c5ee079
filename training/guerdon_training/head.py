"""Recipe: a new attribute for a served reward model, from a few hundred pairs, in seconds.

The model stays as it is. What its last layer reads is computed once for every response, in bfloat16, and in
float32 too where rounding could turn a test pair; on these features the new head is a logistic regression on
differences, whose one optimum takes Newton's method a few steps.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.manifest import Head, Manifest, Profile
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss, doubt, fit_norm, fit_slope
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import MANIFEST, remove_exports, seal
from guerdon_training.config import BaseConfig, DataConfig, HeadConfig
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.data import PreferencePair, file_sha256, read_decided
from guerdon_training.directions import OF_PROFILES
from guerdon_training.distributed import check_alone
from guerdon_training.environment import environment
from guerdon_training.evaluate import Judged, measure
from guerdon_training.golden import write_golden
from guerdon_training.last_layer import ADAPTER, append_row, last_layer
from guerdon_training.last_line import halves
from guerdon_training.measure import Scored, calibration_figures
from guerdon_training.model import base_folder, load_tokenizer
from guerdon_training.newton import fit_differences
from guerdon_training.pair_features import PairFeatures, split_features, with_sure_signs
from guerdon_training.policy.artifact import RUN
from guerdon_training.pooled import Pooled
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.problems import refuse_first
from guerdon_training.report.interval_text import interval_text
from guerdon_training.splits import check_splits
from guerdon_training.standard_error import say
from guerdon_training.tagging import Tagged
from guerdon_training.usable import check_calibration, check_usable

Floats = NDArray[np.float64]
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, slots=True)
class HeadModeConfig:
    """Everything that `guerdon train head` reads.

    artifact: folder of the served model; it is not changed. attribute: name of the new one.
    output: folder of the new artifact, `version` its version: the old one with a head more, whose profile of
        the same name is its default.
    data: files of pairs, all of which train the attribute; `valid` chooses `l2` and calibrates.
    l2: strengths of the penalty that are tried, on the mean log loss.
    features: folder that keeps what the model makes of each response, by the artifact's digest: another
        attribute of the same responses, or some more pairs, then cost only what is new; "" keeps nothing.
    """

    artifact: str
    version: str
    output: str
    attribute: str
    data: DataConfig
    l2: tuple[float, ...] = PENALTIES
    features: str = ""
    num_threads: int = 2


def train_head(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Fit the head, measure it and write the artifact that the file at `config_path` describes.

    Raises:
        InvalidInput: the config, the data or the artifact cannot be used; nothing was written then.
    """
    check_alone()
    config = read_config(config_path, HeadModeConfig, overrides)
    _check(config)
    torch.set_num_threads(config.num_threads)
    source, output = Path(config.artifact), Path(config.output)

    # 1. The pairs, and what the served model's last layer reads of every response.
    pairs = _read_pairs(config)
    reward = open_local_reward(source, None, torch.device("cpu"))
    _check_artifact(config, reward.manifest)
    train, valid, test = split_features(reward, pairs, config.features)
    check_calibration(valid.pairs, config.data.valid)  # of what fits the model

    # 2. Fit; the penalty with the lowest log loss on the valid pairs.
    candidates = [fit_differences(train.differences, l2) for l2 in config.l2]
    shares = [p.share for p in valid.pairs]
    weights = min(candidates, key=lambda w: calibrated_log_loss(valid.differences @ w, shares))

    # 3. Normalise and calibrate on valid; measure on test, once, with the signs of the served float32 model.
    test = with_sure_signs(reward, test, weights)
    head = Head(config.attribute, config.attribute, fit_norm((valid.features @ weights).ravel()))
    clusters = [p.cluster for p in valid.pairs]
    slope = fit_slope(valid.differences @ weights / head.norm.std, clusters, shares, param="data.valid")
    figures = {name: {"pooled": _figures(s, weights)} for name, s in (("valid", valid), ("test", test))}
    manifest = replace(
        reward.manifest,
        version=config.version,
        digest="",
        heads=(*reward.manifest.heads, head),
        profiles={config.attribute: Profile({config.attribute: 1.0}), **reward.manifest.profiles},
        calibration=slope,
        parents={**reward.manifest.parents, "head": _parents(config, reward.manifest)},
        metrics={
            **reward.manifest.metrics,
            config.attribute: figures,
            "calibration": {"test": _calibration(test, weights, head, slope)},
        },
    )

    # 4. Write the artifact: the old one with a row more in its last layer.
    with whole_folder(output):
        shutil.copytree(source, output, ignore=shutil.ignore_patterns(MANIFEST, RUN), dirs_exist_ok=True)
        remove_exports(output)
        (output / "head_config.yaml").write_text(config_yaml(config), "utf-8")
        append_row(source / ADAPTER, output / ADAPTER, weights)
        assert manifest.base is not None
        base = base_folder(BaseConfig(manifest.base.package, manifest.base.subfolder))
        reward.model.classifier = last_layer(output / ADAPTER)
        served = Pooled(reward.model, manifest.pooling)
        write_golden(output / "golden.jsonl", served, load_tokenizer(base), manifest.max_tokens)
        _extend_card(output / "MODEL_CARD.md", config, figures, slope)
        return seal(output, manifest, base)


def _check(config: HeadModeConfig) -> None:
    source, output = (Path(folder).resolve() for folder in (config.artifact, config.output))
    problems = {
        "output must be another folder than artifact, and not within it": source in (output, *output.parents),
        "attribute must not be empty": not config.attribute,
        f"attribute must be none of {', '.join(OF_PROFILES)}, by which metrics name other things": (
            config.attribute in OF_PROFILES
        ),
        "l2 must hold values above 0": not config.l2 or not min(config.l2) > 0,
        "num_threads must be at least 1": config.num_threads < 1,
    }
    refuse_first(problems)


def _check_artifact(config: HeadModeConfig, manifest: Manifest) -> None:
    problems = {
        f"attribute {config.attribute} is already in {manifest.name}; choose another name": (
            config.attribute in (*manifest.attributes, *manifest.profiles, *(h.name for h in manifest.heads))
        ),
        f"artifact {manifest.name} has no adapter with a classifier on a package's base; give one that "
        "guerdon train reward wrote": (
            manifest.base is None
            or manifest.encoding != "pair"
            or not Path(config.artifact, ADAPTER).is_file()
        ),
    }
    refuse_first(problems)


def _read_pairs(config: HeadModeConfig) -> dict[str, tuple[PreferencePair, ...]]:
    files, heads = asdict(config.data), [HeadConfig(config.attribute, ())]
    pairs = {split: read_decided(file, say)[0] for split, file in files.items()}
    for split, found in pairs.items():
        check_usable([Tagged(pair, 0) for pair in found], heads, files[split])
    check_calibration(pairs["valid"], files["valid"])
    check_splits(files, {split: ((p.id, p.prompt) for p in pairs[split]) for split in pairs})
    return pairs


def _figures(split: PairFeatures, weights: Floats) -> dict[str, Any]:
    scores = split.features @ weights
    judged = [Judged(p, (float(a), float(b))) for p, (a, b) in zip(split.pairs, scores, strict=True)]
    return asdict(measure([*judged, *(Judged(p, None) for p in split.refused)]))


def _calibration(split: PairFeatures, weights: Floats, head: Head, slope: Calibration) -> dict[str, Any]:
    """Of the new default profile: what `manifest.metrics` held is of another slope."""
    scores = (split.features @ weights)[:, :, None]
    scored = [Scored(Tagged(p, 0), raw) for p, raw in zip(split.pairs, scores, strict=True)]
    return calibration_figures(scored, (head,), {head.attribute: 1.0}, slope)


def _parents(config: HeadModeConfig, manifest: Manifest) -> dict[str, Any]:
    earlier = manifest.parents.get("head")
    return {
        **({"head": earlier} if earlier else {}),
        "attribute": config.attribute,
        "artifact": {"name": manifest.name, "version": manifest.version, "digest": manifest.digest},
        "data_sha256": {split: file_sha256(Path(file)) for split, file in asdict(config.data).items()},
        **environment(),
    }


def _extend_card(
    card: Path, config: HeadModeConfig, figures: dict[str, dict[str, Any]], slope: Calibration
) -> None:
    found, old = figures["test"]["pooled"], card.read_text("utf-8") if card.is_file() else ""
    accuracy, over = (interval_text(found[key]) for key in ("accuracy", "over_baseline"))
    card.write_text(
        f"{old}\n## The head {config.attribute}, added in version {config.version}\n\n"
        "Logistic regression on the features of the model above, which is unchanged. "
        f"{found['num_pairs']} test pairs{halves(found)}: accuracy {accuracy}, over the better length "
        f"baseline {over}. The "
        f"profile `{config.attribute}` is the default and the calibration is its own; the other profiles are "
        "no longer calibrated.\n" + (f"\nNot sure: {why}.\n" if (why := doubt(slope)) else ""),
        "utf-8",
    )
