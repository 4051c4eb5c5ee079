"""The demo's first half: score, compare and rank over REST and gRPC, and see that both agree."""

from collections.abc import Sequence

from guerdon.cli.demo_texts import CANDIDATES, ITEMS, PAIRS, RANK_PROMPT
from guerdon.cli.service_process import Addresses
from guerdon.cli.table import format_table
from guerdon.client import Client
from guerdon.errors import GuerdonError
from guerdon.types import CompareResult, RankResult, Score, ScoreResult

HEADER = ("verb", "over", "text", "reward", "P(a>b) [95 %]", "rank", "cached", "tokens")

Answers = tuple[ScoreResult, CompareResult, RankResult]


def show_scores(service: Addresses) -> None:
    """Ask over both wires and print the answers.

    Raises:
        GuerdonError: a call failed, or the wires disagree.
    """
    rest, grpc = ask(service.rest), ask(service.grpc)
    print(format_table([HEADER, *rows("REST", rest), *rows("gRPC", grpc)]))
    model = rest[0].model
    print(
        f"\nmodel {model.name} {model.version}, digest {model.digest[:12]}, profile {model.profile} "
        f"({model.backend}, {model.dtype})"
    )
    if numbers(rest) != numbers(grpc):
        raise GuerdonError("REST and gRPC answers differ; this is a bug in the service")
    cached, items = (sum(getattr(a.usage, name) for a in grpc) for name in ("cached", "items"))
    print(
        f"REST and gRPC answers are equal, bit for bit ({cached} of {items} gRPC scores came from the cache)"
    )


def ask(url: str) -> Answers:
    """Every verb once, through the real client."""
    with Client(url) as client:
        return client.score(ITEMS), client.compare(PAIRS), client.rank(RANK_PROMPT, CANDIDATES)


def numbers(answers: Answers) -> list[object]:
    """All that purity promises to be equal; what is left out is where and how fast it was computed."""
    score, compare, rank = answers
    return [
        score.model,
        compare.model,
        rank.model,
        [_pure(s) for s in score.scores],
        [(p.p_a, p.low, p.high, p.margin, p.preferred, _pure(p.a), _pure(p.b)) for p in compare.preferences],
        [(r.index, r.reward, r.p_best, r.std, _pure(r.score)) for r in rank.results],
    ]


def rows(over: str, answers: Answers) -> Sequence[tuple[str, ...]]:
    """One table row per answer."""
    score, compare, rank = answers
    scored = [
        ("score", over, _excerpt(item[1]), f"{s.reward:+.4f}", "", "", *_cost(s))
        for item, s in zip(ITEMS, score.scores, strict=True)
    ]
    compared = [
        (
            "compare",
            over,
            f"{_excerpt(pair[1], 22)} | {_excerpt(pair[2], 22)}",
            f"{p.margin:+.4f}",
            f"{p.p_a:.3f} [{p.low:.3f}, {p.high:.3f}]",
            "",
            _yes(p.a.cached and p.b.cached),
            str(p.a.tokens + p.b.tokens),
        )
        for pair, p in zip(PAIRS, compare.preferences, strict=True)
    ]
    ranked = [
        ("rank", over, _excerpt(CANDIDATES[r.index]), f"{r.reward:+.4f}", "", f"{place}.", *_cost(r.score))
        for place, r in enumerate(rank.results, 1)
    ]
    return scored + compared + ranked


def _pure(score: Score) -> object:
    return score.reward, score.attributes, score.raw, score.std, score.tokens, score.truncated


def _cost(score: Score) -> tuple[str, str]:
    return _yes(score.cached), str(score.tokens)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _excerpt(text: str, width: int = 47) -> str:
    return text if len(text) <= width else text[: width - 3].rstrip() + "..."
