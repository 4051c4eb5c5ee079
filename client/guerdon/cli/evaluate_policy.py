"""``guerdon evaluate-policy``: what policies are worth, by the reward models of a running service."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from guerdon.cli.input import open_input
from guerdon.cli.policy_table import policy_table
from guerdon.cli.records import prompt_of, response_of
from guerdon.cli.service_args import add_service_arguments, open_client, print_json
from guerdon.errors import InvalidInput
from guerdon.types import PolicyEvaluationProgress, PolicyPrompt


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate-policy",
        help="measure policies: rewards, win rates, KL, over-optimisation",
        description="Sample policies of a running service on the prompts of a file and measure them by its "
        'reward models. A record is {"prompt" | "messages"}; other fields are ignored, unless '
        "--baseline-field names one.",
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="JSONL of prompts, plain or gzipped; - for standard input")
    add(
        "--policy",
        dest="policies",
        action="append",
        required=True,
        metavar="NAME",
        help="policy to measure; repeatable, as checkpoints of one run",
    )
    add("--baseline", metavar="NAME", help="policy that win rates are against")
    add("--baseline-field", metavar="FIELD", help="field with the responses to beat instead, e.g. chosen")
    add("--reference", metavar="NAME", help="policy that the KL is to (the baseline)")
    add("--model", help="name of a loaded reward model (default: the service's)")
    add("--profile", help="named head weights (default: the model's)")
    add("--gold", metavar="NAME", help="second reward model, by which the first is checked")
    add("--judge", metavar="NAME", help="judge that compares the first responses, in both orders")
    add("-n", type=int, help="responses of each policy to a prompt (default: 1)")
    add("--max-tokens", type=int, help="most tokens of one response (default: 128)")
    add("--temperature", type=float, help="0 is greedy (default: 1)")
    add("--top-p", type=float, help="nucleus of sampling (default: 1)")
    add("--seed", type=int, help="prompt i is sampled with seed + i (default: 0)")
    add_service_arguments(parser)
    parser.set_defaults(run=run_evaluate_policy)


def run_evaluate_policy(args: argparse.Namespace) -> int:
    """Exit status."""
    from tqdm import tqdm

    prompts = _read(args.file, args.baseline_field)
    with open_client(args) as client, tqdm(unit="step", desc="evaluate-policy", disable=None) as bar:

        def show(progress: PolicyEvaluationProgress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        found = client.evaluate_policy(
            args.policies,
            prompts,
            n=args.n,
            max_tokens=args.max_tokens,
            temperature=args.temperature,
            top_p=args.top_p,
            seed=args.seed,
            baseline=args.baseline,
            reference=args.reference,
            model=args.model,
            profile=args.profile,
            gold=args.gold,
            judge=args.judge,
            on_progress=show,
        )
    if args.json:
        print_json(found)
    else:
        print(policy_table(found))
    return 0


def _read(name: str, baseline_field: str | None) -> list[PolicyPrompt]:
    with tempfile.TemporaryDirectory(prefix="guerdon-") as folder:
        return [_prompt(i, line, baseline_field) for i, line in open_input(name, Path(folder)).lines()]


def _prompt(index: int, line: bytes, baseline_field: str | None) -> PolicyPrompt:
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise InvalidInput("give an object", param="FILE")
        response = None if baseline_field is None else response_of(record, baseline_field)
        return PolicyPrompt(prompt_of(record), response)
    except (ValueError, InvalidInput) as err:
        raise InvalidInput(f"line {index + 1}: {err}", param="FILE") from None
