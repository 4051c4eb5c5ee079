"""``guerdon demo``: start the service, ask it over REST and gRPC, show that both agree, stop it."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from guerdon.cli.demo_texts import CANDIDATES, ITEMS, PAIRS, RANK_PROMPT
from guerdon.cli.service_process import running_service
from guerdon.cli.table import format_table
from guerdon.client import Client
from guerdon.errors import GuerdonError
from guerdon.types import CompareResult, RankResult, Score, ScoreResult

READY_S = 180.0
"""A first start on a slow machine reads the weights from a cold disk and replays the certificate."""
HEADER = ("verb", "over", "text", "reward", "P(a>b) [95 %]", "rank", "cached", "tokens")

Answers = tuple[ScoreResult, CompareResult, RankResult]


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="start the service, score, compare and rank over REST and gRPC, stop it",
        description="Starts `guerdon serve` with the default model on free ports, scores, compares and ranks "
        "a few texts over REST and over gRPC, checks that the answers are equal bit for bit, and stops it.",
    )
    serve = (sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0")
    parser.set_defaults(run=lambda _: run_demo(serve))


def run_demo(serve: Sequence[str]) -> int:
    """Exit status of the demo.

    Args:
        serve: command that starts a service on free ports.
    """
    print("starting the service ...", flush=True)
    try:
        with running_service(serve, READY_S) as service:
            rest, grpc = ask(service.rest), ask(service.grpc)
    except GuerdonError as err:
        print(f"guerdon: {err}", *getattr(err, "__notes__", ()), sep="\n", file=sys.stderr)
        return 2
    print(format_table([HEADER, *rows("REST", rest), *rows("gRPC", grpc)]))
    model = rest[0].model
    print(
        f"\nmodel {model.name} {model.version}, digest {model.digest[:12]}, profile {model.profile}", end=""
    )
    print(f" ({model.backend}, {model.dtype}); the service is stopped")
    if numbers(rest) != numbers(grpc):
        print("guerdon: REST and gRPC answers differ; this is a bug in the service", file=sys.stderr)
        return 2
    cached, items = (sum(getattr(a.usage, name) for a in grpc) for name in ("cached", "items"))
    print(
        f"REST and gRPC answers are equal, bit for bit ({cached} of {items} gRPC scores came from the cache)"
    )
    return 0


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
