"""Rewards from a running Guerdon service."""

import re
from collections.abc import Mapping, Sequence

from guerdon import Client, InputTooLong, InvalidInput, ModelRef
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput as BadConfig

PROBE = ("Hello", "Hi")
"""Scored once at the start: the answer says which weights are behind a name, an ensemble's too."""
_ITEM = re.compile(r"items\[(\d+)\](?P<response>\.response)?")


class RemoteReward:
    """`RewardSource` over REST or gRPC: batched, split and retried by the client.

    Args:
        client: connected to the service; closing it is the caller's business.
        model: ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS`` that the service holds, or an ensemble; None is
            its default. The version that it means now gives every score, whatever is promoted meanwhile.
        profile: named head weights; None is the model's default.
    """

    def __init__(self, client: Client, model: str | None = None, profile: str | None = None) -> None:
        answered = client.score([PROBE], model=model, profile=profile).model
        self._client, self._profile = client, answered.profile
        self.model = _pinned(client, answered)
        """What the service is asked for: ``NAME@VERSION``, or an ensemble's name."""
        self._identity = {
            "name": answered.name,
            "version": answered.version,
            "digest": answered.digest,
            "profile": answered.profile,
        }

    @property
    def identity(self) -> Mapping[str, str]:
        """Name, version, digest and profile."""
        return self._identity

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """See `RewardSource.score`.

        Raises:
            guerdon.GuerdonError: the service cannot be reached, retries included, or refuses the caller.
            InvalidInput: the service loaded other weights under this name since the run began.
        """
        scores: list[float | None] = [None] * len(conversations)
        wanted = [i for i, c in enumerate(conversations) if c.response]
        while wanted:
            items = [(_prompt(conversations[i]), conversations[i].response) for i in wanted]
            try:
                result = self._client.score(items, model=self.model, profile=self._profile, lane="bulk")
            except InvalidInput as err:
                refused = wanted[_refused_item(err)]
                wanted.remove(refused)
                if not isinstance(err, InputTooLong):  # that may be of the prompt too
                    text = conversations[refused].response
                    wanted = [i for i in wanted if conversations[i].response != text]
                continue
            self._check_digest(result.model.digest)
            for i, score in zip(wanted, result.scores, strict=True):
                scores[i] = score.reward
            break
        return scores

    def _check_digest(self, digest: str) -> None:
        if digest != self._identity["digest"]:
            raise BadConfig(
                f"the service now holds other weights as {self.model} ({digest[:12]}, "
                f"not {self._identity['digest'][:12]}); "
                "serve the first ones and run again, or give another output",
                param="reward.url",
            )


def _pinned(client: Client, answered: ModelRef) -> str:
    """A reference that means these weights as long as they are loaded; an ensemble has no version to name."""
    loaded = {(info.name, info.version) for info in client.models()}
    is_version = (answered.name, answered.version) in loaded
    return f"{answered.name}@{answered.version}" if is_version else answered.name


def _prompt(conversation: Conversation) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in conversation.prompt]


def _refused_item(err: InvalidInput) -> int:
    """Which response the service refused; raises `err` again where the prompt or the call is to blame."""
    found = _ITEM.match(err.param or "")
    if found is None or not (found["response"] or isinstance(err, InputTooLong)):
        raise err
    return int(found[1])
