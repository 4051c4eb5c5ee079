"""Which versions of served rewards a run is held to: those that its references meant when it began."""

import json
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from guerdon import UnknownModel
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import write_whole
from guerdon_training.ppo.checkpoint import CHECKPOINT
from guerdon_training.ppo.config import PpoConfig, ScoreSource
from guerdon_training.ppo.rewards import connected

FILE = "served.json"
"""Beside the checkpoint: of ``reward`` and ``gold`` the model that the config named, and the one it meant."""


def hold_versions(accelerator: Accelerator, config: PpoConfig, run: Path) -> PpoConfig:
    """The config with every served model as ``NAME@VERSION``; a collective operation.

    One process asks the service: an alias that moves meanwhile would mean something else to each.

    Args:
        run: where a checkpoint lies if the run goes on; it then keeps to the versions that it began with.

    Raises:
        InvalidInput: the service no longer holds such a version.
        guerdon.GuerdonError: the service cannot be reached, or does not hold the model.
    """
    models = [_models(config, run) if accelerator.is_main_process else {}]
    broadcast_object_list(models)
    held = {part: replace(getattr(config, part), model=model) for part, model in models[0].items()}
    return replace(config, **held)


def keep_versions(asked: PpoConfig, held: PpoConfig, run: Path) -> None:
    """Note what a run begins with, for when it goes on; one that goes on has it already.

    Args:
        asked: the config as it was given. held: what `hold_versions` made of it.
    """
    named = {p: [s.model, getattr(held, p).model] for p, s in _served(asked).items()}
    if named and not (run / CHECKPOINT).is_file():
        run.mkdir(parents=True, exist_ok=True)
        write_whole(run / FILE, json.dumps(named))


def _served(config: PpoConfig) -> dict[str, ScoreSource]:
    sources = {"reward": config.reward, "gold": config.gold}
    return {part: source for part, source in sources.items() if source.url}


def _models(config: PpoConfig, run: Path) -> dict[str, str]:
    goes_on = (run / CHECKPOINT).is_file() and (run / FILE).is_file()
    before = json.loads((run / FILE).read_text("utf-8")) if goes_on else {}
    models = {}
    for part, source in _served(config).items():
        asked, held = before.get(part, (source.model, ""))
        if held and asked == source.model:
            models[part] = _still_held(part, replace(source, model=held), run)
        else:
            models[part] = _answering(source)
    return models


def _still_held(part: str, source: ScoreSource, run: Path) -> str:
    try:
        return _answering(source)
    except UnknownModel as err:
        raise InvalidInput(
            f"the run began with {source.model}, which the service holds no more ({err}); give that version "
            f"an alias, which loads it, or remove {run / CHECKPOINT} to start over",
            param=f"{part}.model",
        ) from err


def _answering(source: ScoreSource) -> str:
    with connected(source) as reward:
        return reward.model
