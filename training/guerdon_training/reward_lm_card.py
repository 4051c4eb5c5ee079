"""The model card of a reward model on a language model, written from measured figures only."""

from guerdon_service.core.manifest import Manifest
from guerdon_training.card import facts, measured, ties_left_out
from guerdon_training.reward_lm_config import RewardLmConfig


def render_card(config: RewardLmConfig, config_file: str, manifest: Manifest) -> str:
    """Markdown card of a measured but not yet sealed artifact.

    Args:
        config_file: as given on the command line.
    """
    base = manifest.parents["base"]
    parts = [
        f"# {config.name} {config.version}",
        f"A reward model: the head `{config.attribute}`, read at the last token of a conversation, on the "
        f"language model `{base['source']}`. It reads at most {config.max_tokens} tokens; a longer prompt "
        "loses its beginning, a response is never cut. It compares responses to one prompt: no pair of its "
        "training compares prompts.",
        _training(config, config_file, manifest),
        facts(manifest, f"`{base['source']}`, SHA-256 {base['weights_sha256']}"),
        *measured(manifest, [config.attribute]),
    ]
    return "\n\n".join(parts) + "\n"


def _training(config: RewardLmConfig, config_file: str, manifest: Manifest) -> str:
    optim, lora, training = config.optim, config.lora, manifest.metrics["training"]
    trained = f"LoRA of rank {lora.rank}, merged" if lora.rank else "every weight trained"
    return (
        f"Trained with `guerdon train reward-lm {config_file}` (`config.yaml` holds every setting): "
        f"Bradley-Terry loss, {trained}, {training['num_train']} pairs, learning rate "
        f"{optim.learning_rate:g}, {optim.examples_per_step} pairs a step, assumed flip rate "
        f"{config.loss.flip_rate:g}; epoch {training['epoch']} of {optim.epochs} is kept, by the log loss on "
        f"valid.{ties_left_out(training)}"
    )
