"""One held-out item: a prompt, its responses, and how good people said each of them is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.opening import opening


@dataclass(frozen=True, slots=True)
class Item:
    """A pair, a best-of-k set, a tie or a style matrix.

    responses: two or more.
    grades: one per response; the higher was preferred. All equal: people called it a tie.
    votes, tie_votes: how many people voted for each response, and for a tie; empty where nobody counted.
    styles: one per response, from plain (0) to fancy, where the data crosses substance with style.
    tags, demographics: what accuracy is reported by.
    """

    id: str
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    grades: tuple[float, ...]
    subset: str
    votes: tuple[float, ...] = ()
    tie_votes: float = 0.0
    styles: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    demographics: Mapping[str, str] = field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """Key shared by all items with the same `opening`."""
        return opening(self.prompt)

    def conversations(self) -> Iterator[Conversation]:
        """What is scored, a conversation per response."""
        return (Conversation(self.prompt, response) for response in self.responses)
