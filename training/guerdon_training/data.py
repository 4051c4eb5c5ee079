"""Preference records: JSON Lines (plain or gzip) to frozen dataclasses.

A line is a pair or a ranking. A pair has ``prompt``, ``chosen`` and ``rejected``, and may have ``votes``,
``margin`` and ``rank_gap``. A ranking has ``prompt``, ``responses`` and ``ranks``, 1 the best and equal a
tie; it is read as all its pairs.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.opening import opening
from guerdon_training.record import Record, read_records


@dataclass(frozen=True, slots=True)
class Votes:
    """How many annotators preferred the chosen response, the rejected one, or neither."""

    chosen: int = 0
    rejected: int = 0
    tie: int = 0

    @property
    def num(self) -> int:
        """All of them."""
        return self.chosen + self.rejected + self.tie


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One human judgement: `chosen` was preferred to `rejected` as the answer to `prompt`.

    votes: where several annotators judged it. margin: strength of the preference, on the source's scale.
    rank_gap: how many ranks apart the two stood in a ranking.
    place: ``file:line`` of its record.
    """

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    source: str
    subset: str
    votes: Votes | None = None
    margin: float | None = None
    rank_gap: int | None = None
    place: str = field(default="", compare=False)

    @property
    def cluster(self) -> str:
        """Key shared by all pairs with the same `opening`."""
        return opening(self.prompt)

    @property
    def share(self) -> float:
        """Share of votes for the chosen response, those for neither split evenly; 1.0 where nobody voted."""
        votes = self.votes
        return 1.0 if votes is None else (votes.chosen + votes.tie / 2.0) / votes.num

    @property
    def is_tie(self) -> bool:
        """Whether its votes prefer neither response."""
        votes = self.votes
        return votes is not None and (votes.tie > votes.chosen or votes.chosen == votes.rejected)


def read_pairs(path: Path, *, ties: bool = False) -> tuple[PreferencePair, ...]:
    """Read one file of preference records.

    Args:
        ties: keep the pairs whose votes, or ranks, prefer neither response. Accuracy and most objectives
            have no use for them.

    Raises:
        InvalidInput: the file is missing, empty or not UTF-8, a line is not a preference record or of another
            kind than the first, or an id comes twice; the message names the file, the line and the remedy.
    """
    pairs: list[PreferencePair] = []
    places: dict[str, str] = {}
    first = ""
    for record in read_records(path):
        kind = "ranking" if "responses" in record.values else "pair"
        first = first or kind
        if kind != first:
            raise record.bad(f"is a {kind}, but the file began with a {first}; give one file per kind")
        name = record.text("id") or record.where
        if name in places:
            raise record.bad(f"has the id {name!r} of {places[name]}; drop one of them, or rename it")
        places[name] = record.where
        found = _ranked(record, name) if kind == "ranking" else [_pair(record, name)]
        pairs += found
    if not places:
        raise InvalidInput(f"{path} holds no record; give a file with preference pairs", param="data")
    return tuple(pairs) if ties else without_ties(path, pairs)


def without_ties(path: Path, pairs: Sequence[PreferencePair]) -> tuple[PreferencePair, ...]:
    """Those of a file's pairs that prefer a response.

    Raises:
        InvalidInput: none does.
    """
    kept = tuple(pair for pair in pairs if not pair.is_tie)
    if not kept:
        raise InvalidInput(f"{path}: every record ties; give a file with preference pairs", param="data")
    return kept


def read_decided(file: str, say: Callable[[str], object]) -> tuple[tuple[PreferencePair, ...], int]:
    """Pairs of a file that prefer a response, and the number of those that tie.

    Args:
        say: is told of the ties, where there are some.

    Raises:
        InvalidInput: see `read_pairs`.
    """
    pairs = read_pairs(Path(file), ties=True)
    kept = without_ties(Path(file), pairs)
    num_ties = len(pairs) - len(kept)
    if num_ties:
        say(f"{file}: left out {num_ties} pairs that tie: they prefer neither response")
    return kept, num_ties


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces: weights are large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pair(record: Record, name: str) -> PreferencePair:
    prompt, chosen, rejected = record.prompt(), record.need("chosen"), record.need("rejected")
    if not (isinstance(chosen, str) and isinstance(rejected, str) and chosen and rejected):
        raise record.bad("chosen and rejected must be non-empty strings; fix the line")
    if chosen == rejected:
        raise record.bad("chosen equals rejected; drop the line")
    gap = record.number("rank_gap")
    if gap is not None and not gap.is_integer():
        raise record.bad("rank_gap must be a whole number of ranks; fix the line")
    return PreferencePair(
        name,
        prompt,
        chosen,
        rejected,
        record.text("source"),
        record.text("subset"),
        votes=_votes(record),
        margin=record.number("margin"),
        rank_gap=None if gap is None else int(gap),
        place=record.where,
    )


def _ranked(record: Record, name: str) -> list[PreferencePair]:
    """All C(K, 2) pairs of a ranking, better response first; a tied pair has one vote for neither."""
    prompt, responses, ranks = record.prompt(), record.items("responses", str), record.items("ranks", int)
    if responses is None or not (all(responses) and len(set(responses)) == len(responses) >= 2):
        raise record.bad("responses must be at least two different non-empty strings; fix the line")
    if ranks is None or len(ranks) != len(responses):
        raise record.bad("ranks must be whole numbers, one for each response, 1 the best; fix the line")
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    return [
        PreferencePair(
            f"{name}#{better}-{worse}",
            prompt,
            responses[better],
            responses[worse],
            record.text("source"),
            record.text("subset"),
            votes=Votes(tie=1) if ranks[better] == ranks[worse] else None,
            rank_gap=ranks[worse] - ranks[better],
            place=record.where,
        )
        for better, worse in combinations(order, 2)
    ]


def _votes(record: Record) -> Votes | None:
    value = record.values.get("votes")
    if value is None:
        return None
    known = {"chosen", "rejected", "tie"}
    if not (
        isinstance(value, dict) and value.keys() <= known and all(type(n) is int for n in value.values())
    ):
        raise record.bad("votes must map chosen, rejected and tie to whole numbers; fix the line")
    votes = Votes(**value)
    if min(value.values(), default=0) < 0 or votes.num == 0:
        raise record.bad("votes must be counts, at least one above 0; fix the line, or leave votes out")
    return votes
