"""Which traffic a candidate sees."""

from dataclasses import dataclass
from hashlib import sha256

from guerdon_service.core.conversation import Message
from guerdon_service.core.query import Lane, Options


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """Shares of the requests that name a model without a version, each in [0, 1].

    shadow_share: scored by the candidate too, which does not answer.
    canary_share: of the interactive ones, answered by the candidate. Bulk requests are parts of a whole, so
        one version answers them all.
    canary_tenants: all of whose requests the candidate answers.
    alpha: probability that a replica stops a candidate that is no worse, however long it watches; of several,
        each with its own evidence, any may, so together at most that many times `alpha`.
    """

    shadow_share: float = 0.0
    canary_share: float = 0.0
    canary_tenants: frozenset[str] = frozenset()
    alpha: float = 0.01

    def is_canary(self, options: Options, prompt: tuple[Message, ...]) -> bool:
        """Whether the candidate answers: the same prompt of the same tenant always goes the same way."""
        if options.tenant in self.canary_tenants:
            return True
        return options.lane is not Lane.BULK and _share("canary", options.tenant, prompt) < self.canary_share

    def is_shadowed(self, tenant: str, prompt: tuple[Message, ...]) -> bool:
        """Whether the candidate scores it too; independent of `is_canary`."""
        return _share("shadow", tenant, prompt) < self.shadow_share


def _share(purpose: str, tenant: str, prompt: tuple[Message, ...]) -> float:
    """A number in [0, 1) that is uniform over prompts."""
    digest = sha256(repr((purpose, tenant, [(m.role, m.content) for m in prompt])).encode("utf-8", "replace"))
    return int.from_bytes(digest.digest()[:8], "big") / 2**64
