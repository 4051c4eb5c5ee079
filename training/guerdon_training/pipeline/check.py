"""What can be refused before the first stage runs."""

from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.registry import CHECKS
from guerdon_training.pipeline.config import PipelineConfig
from guerdon_training.policy.artifact import check_save
from guerdon_training.policy.config import check_optim
from guerdon_training.policy.objective import check_loss
from guerdon_training.ppo.check import check_ppo
from guerdon_training.reward_check import check_reward


def check_pipeline(config: PipelineConfig) -> None:
    """Refuse settings that a later stage could not use.

    Raises:
        InvalidInput: the key is named.
    """
    for policy in (config.sft, config.dpo):
        check_optim(policy.optim)
        check_save(policy.save, policy.base, policy.lora.rank)
    check_loss(config.dpo.loss)
    check_reward(config.reward)
    check_ppo(config.ppo)
    profiles = config.reward.profiles
    asked = [config.ppo.reward.profile, config.card.profile, *config.compare.profiles]
    for profile in asked:
        if profile and profile not in profiles:
            raise InvalidInput(
                f"config asks for the profile {profile}; reward.profiles has {', '.join(sorted(profiles))}",
                param="reward.profiles",
            )
    if any(source.crossed for head in config.reward.heads for source in head.sources):
        raise InvalidInput(
            "config reward.heads has a source with crossed; its pairs would train proxy and gold alike: "
            "leave it out, or add the crossed pairs to pairs.train",
            param="reward.heads",
        )
    for name, policy_save in (("sft", config.sft.save), ("dpo", config.dpo.save), ("ppo", config.ppo.save)):
        if policy_save != "merged":
            raise InvalidInput(
                f'config {name}.save must be "merged": later stages load it', param=f"{name}.save"
            )
    names = {check.__name__.removeprefix("check_") for check in CHECKS}
    unknown = sorted(set(config.audit.accept) - names)
    if unknown:
        raise InvalidInput(
            f"config audit.accept names {', '.join(unknown)}; checks are {', '.join(sorted(names))}",
            param="audit.accept",
        )
