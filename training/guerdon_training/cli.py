"""`guerdon train RECIPE CONFIG`."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from guerdon_service.core.manifest import Manifest
from guerdon_training.config_file import override, read_mapping
from guerdon_training.dpo import train_dpo
from guerdon_training.head import train_head
from guerdon_training.implicit import train_implicit
from guerdon_training.last_line import last_line
from guerdon_training.pipeline.recipe import PUBLISHED, train_pipeline
from guerdon_training.ppo.recipe import train_ppo
from guerdon_training.reward import train_reward
from guerdon_training.reward_lm import train_reward_lm
from guerdon_training.sft import train_sft
from guerdon_training.tracking import TRACKERS, tracking

RECIPES: dict[str, Callable[[Path, Sequence[str]], Manifest]] = {
    "reward": train_reward,
    "reward-lm": train_reward_lm,
    "head": train_head,
    "sft": train_sft,
    "dpo": train_dpo,
    "implicit": train_implicit,
    "ppo": train_ppo,
    "pipeline": train_pipeline,
}
"""One file per method; each reads a YAML file and writes an artifact."""
WIDTH = 2 + max(map(len, RECIPES))


def summary(recipe: str) -> str:
    """What a recipe makes, from the first line of its module, after ``Recipe:``."""
    first, *_ = (sys.modules[RECIPES[recipe].__module__].__doc__ or "").splitlines()
    return first.partition(": ")[2]


def train_command(argv: list[str]) -> int:
    """Run one recipe; 0 when its artifact was written.

    Raises:
        GuerdonError: the config, the data or the base cannot be used; the message says what to do.
    """
    parser = argparse.ArgumentParser(
        "guerdon train",
        description="Train a model and write its artifact.",
        epilog="recipes:\n" + "".join(f"  {name:<{WIDTH}}{summary(name)}\n" for name in RECIPES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", choices=RECIPES, metavar="RECIPE", help="one of those below")
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a setting, e.g. optim.epochs=2",
    )
    parser.add_argument("--tracker", default="", metavar="NAME", help=f"log there too: {', '.join(TRACKERS)}")
    parser.add_argument("--json", action="store_true", help="print folder, digest and metrics as JSON")
    arguments = parser.parse_args(argv)
    if not sys.stderr.isatty():
        disable_progress_bar()  # those of transformers ask for no terminal
    # peft asks each model by transformers' old name for it; whoever trains can mend neither
    warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated")
    folder = _folder(arguments.recipe, arguments.config, arguments.set)  # the file may change meanwhile
    with tracking(arguments.tracker, Path("runs")):
        manifest = RECIPES[arguments.recipe](arguments.config, arguments.set)
    told = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
    text = f"{manifest.name} {manifest.version}, digest {manifest.digest}\n{last_line(manifest, folder)}"
    more = {"folder": str(folder), "metrics": manifest.metrics}
    print(json.dumps(told | more) if arguments.json else text)  # noqa: T201 - its answer
    return 0


def _folder(recipe: str, config: Path, overrides: Sequence[str]) -> Path:
    """Of the artifact that the recipe will write; what is wrong with the config the recipe tells."""
    found = override(read_mapping(config), overrides) if config.is_file() else {}
    output = Path(str(found.get("output", "")))
    return output / PUBLISHED if recipe == "pipeline" else output
