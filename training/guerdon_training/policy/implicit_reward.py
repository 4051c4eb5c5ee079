"""A preference-tuned policy read as a reward model."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

FILE = "implicit_reward.json"


@dataclass(frozen=True, slots=True)
class ImplicitReward:
    """``beta (log pi(response | prompt) - log ref(response | prompt))``, up to a constant per prompt.

    Rafailov et al. (arXiv 2305.18290, eq. 5). Log-probabilities are sums over the response's tokens, its EOS
    included, or means where `per_token`.

    reference, reference_sha256: the base as the config names it, and `policy.base.weights_sha256` of it.
    """

    beta: float
    per_token: bool
    reference: str
    reference_sha256: str

    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor, num_tokens: Tensor) -> Tensor:
        """float [S], of S responses.

        Args:
            logprobs, ref_logprobs: float [S], sums under the policy and under the reference.
            num_tokens: int64 [S], of the responses.
        """
        ratios = logprobs - ref_logprobs
        return self.beta * (ratios / num_tokens if self.per_token else ratios)


def write_implicit_reward(folder: Path, description: ImplicitReward) -> None:
    """Write ``implicit_reward.json`` into an artifact's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(description), indent=2) + "\n", "utf-8")


def read_implicit_reward(folder: Path) -> ImplicitReward:
    """What `write_implicit_reward` wrote."""
    return ImplicitReward(**json.loads((folder / FILE).read_text("utf-8")))
