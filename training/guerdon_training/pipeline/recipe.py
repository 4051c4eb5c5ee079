"""`guerdon train pipeline`: from data to published policies, one stage after the other."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.artifact import MANIFEST
from guerdon_training.config_file import override, read_mapping
from guerdon_training.distributed import check_alone
from guerdon_training.pipeline.check import check_pipeline
from guerdon_training.pipeline.held_out import check_comparison
from guerdon_training.pipeline.run import check_files, run_stages
from guerdon_training.pipeline.stages import pipeline_stages
from guerdon_training.pipeline.stamp import read_stamp
from guerdon_training.pipeline.wiring import wire

PUBLISHED = Path("artifacts") / "ppo"
"""Folder below `output` of what a pipeline ends in."""


def train_pipeline(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Run every stage that is not done yet; give the manifest of the published PPO policy.

    Args:
        overrides: ``key=value`` each, as after ``--set``, e.g. ``dpo.optim.epochs=2``.

    Raises:
        InvalidInput: config, data or a base cannot be used, or a finished stage was made from others.
        GuerdonError: a stage failed; run the same command again once the cause is removed.
    """
    check_alone()
    config = wire(override(read_mapping(config_path), overrides))
    check_pipeline(config)
    stages = pipeline_stages(config)
    check_files(stages)
    if any(read_stamp(stage.folder) is None for stage in stages):  # else nothing learns any more
        check_comparison(config)
    run_stages(stages, say=partial(tqdm.write, file=sys.stderr))
    root = Path(config.output)
    tqdm.write(f"report: {root / 'report' / 'report.html'}", file=sys.stderr)
    return from_json((root / PUBLISHED / MANIFEST).read_text("utf-8"))
