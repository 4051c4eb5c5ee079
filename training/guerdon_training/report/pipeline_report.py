"""One page about a whole run of the pipeline."""

from pathlib import Path

from guerdon_training.pipeline.config import PipelineConfig


def write_report(config: PipelineConfig, path: Path) -> None:
    """Thin for now."""
    path.write_text("<html></html>", "utf-8")
