"""The page about the whole run, as the last stage."""

import json
from collections.abc import Sequence
from pathlib import Path

from guerdon_training.artifact import MANIFEST
from guerdon_training.pipeline.run import Stage
from guerdon_training.pipeline.stamp import read_stamp
from guerdon_training.report.pipeline_report import pipeline_page, read_outcome


def write_report(name: str, root: Path, stages: Sequence[Stage]) -> None:
    """Write ``report/report.html`` about `stages`, which are done."""
    outcome = read_outcome(name, root, [_row(stage) for stage in stages])
    (root / "report" / "report.html").write_text(pipeline_page(outcome), "utf-8")


def _row(stage: Stage) -> tuple[str, str, str, str]:
    """Name, seconds, peak memory in MiB, and the artifact's digest where it is one."""
    stamp, manifest = read_stamp(stage.folder), stage.folder / MANIFEST
    assert stamp is not None, "a stage runs only once the ones before it are done"
    digest = json.loads(manifest.read_text("utf-8"))["digest"] if manifest.is_file() else ""
    return stage.name, f"{stamp.seconds:.0f}", f"{stamp.peak_rss_mib:,}", digest
