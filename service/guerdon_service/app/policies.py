"""From settings to the policies that best-of-n samples from."""

import logging
import time

from guerdon_service.app.settings import PolicySettings, Settings
from guerdon_service.artifacts.policy import read_policy
from guerdon_service.core.generation import Policy
from guerdon_service.policies.openai_policy import OpenAIPolicy

_LOG = logging.getLogger(__name__)


def load_policies(settings: Settings) -> tuple[Policy, ...]:
    """Every policy of the settings, in order. Blocks; run it in a thread.

    Raises:
        InvalidInput: the first one that is refused.
    """
    return tuple(
        _load(name, policy, policy.device or settings.device) for name, policy in settings.policies.items()
    )


def _load(name: str, policy: PolicySettings, device: str) -> Policy:
    if policy.url:
        return OpenAIPolicy(
            name,
            policy.url,
            policy.model or name,
            api_key=policy.api_key.get_secret_value(),
            stream=policy.stream,
            stall_timeout_s=policy.stall_timeout_s,
        )
    from guerdon_service.policies.transformers_policy import TransformersPolicy

    started = time.monotonic()
    loaded = TransformersPolicy.load(name, read_policy(policy.source), policy.dtype, device)
    seconds = round(time.monotonic() - started, 3)
    _LOG.info("policy ready", extra={"policy": name, "digest": loaded.digest, "load_s": seconds})
    return loaded
