"""``guerdon best-of-n``: sample n responses of a policy, score them as they come, print the best."""

import argparse
import sys
from typing import Any

from guerdon.cli.service_args import add_service_arguments, open_client, print_json
from guerdon.types import BestOfNResult, Candidate


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "best-of-n",
        help="sample n responses to a prompt and choose the best",
        description="Sample n responses of a policy, score each as it is finished (shown on standard error), "
        "and print the best one.",
    )
    parser.add_argument("prompt", metavar="PROMPT", help="a user's turn; - for standard input")
    parser.add_argument("-n", type=int, default=8, help="responses to sample (default: %(default)s)")
    parser.add_argument("--policy", default="smollm2", help="name of a policy (default: %(default)s)")
    parser.add_argument("--model", help="name of a loaded reward model (default: the service's)")
    parser.add_argument("--profile", help="named head weights (default: the model's)")
    parser.add_argument("--max-tokens", type=int, help="most tokens of one response (default: 128)")
    parser.add_argument("--temperature", type=float, help="0 is greedy (default: 1)")
    parser.add_argument("--top-p", type=float, help="nucleus of sampling (default: 1)")
    parser.add_argument("--seed", type=int, help="equal seeds give equal responses (default: 0)")
    parser.add_argument(
        "--patience", type=int, help="stop after so many without a better one (default: never)"
    )
    parser.add_argument(
        "--min-margin", type=float, help="abstain when the best leads the second by less (default: never)"
    )
    parser.add_argument(
        "--conservatism", type=float, metavar="K", help="choose by reward - K * std (default: 0)"
    )
    parser.add_argument(
        "--choice-temperature", type=float, help="0 takes the best; above, soft best-of-n (default: 0)"
    )
    parser.add_argument("--deadline-s", type=float, help="take the best of what arrived by then")
    add_service_arguments(parser)
    parser.set_defaults(run=run_best_of_n)


def run_best_of_n(args: argparse.Namespace) -> int:
    """Exit status; 1 when the service abstained."""
    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    with open_client(args) as client:
        result = client.best_of_n(
            args.policy,
            prompt,
            args.n,
            max_tokens=args.max_tokens,
            temperature=args.temperature,
            top_p=args.top_p,
            seed=args.seed,
            conservatism=args.conservatism,
            choice_temperature=args.choice_temperature,
            min_margin=args.min_margin,
            patience=args.patience,
            model=args.model,
            profile=args.profile,
            deadline_s=args.deadline_s,
            on_candidate=lambda candidate: print(candidate_line(candidate), file=sys.stderr, flush=True),
        )
    if args.json:
        print_json(result)
    else:
        print(result_line(result), file=sys.stderr)
        print(result.chosen.response if result.chosen else "")
    return 0 if result.chosen else 1


def candidate_line(candidate: Candidate, width: int = 80) -> str:
    """One candidate in one line."""
    text = " ".join(candidate.response.split())
    shown = text if len(text) <= width else text[: width - 3].rstrip() + "..."
    return f"{candidate.index:>3}  {candidate.score.reward:+.4f}  {shown}"


def result_line(result: BestOfNResult) -> str:
    """The choice and its bounds in one line."""
    notes = [name for name in ("abstained", "partial", "stopped_early") if getattr(result, name)]
    noted = f" ({', '.join(notes).replace('_', ' ')})" if notes else ""
    return (
        f"best: {result.best} of {len(result.candidates)}{noted}; win rate against one sample at most "
        f"{result.expected_win_rate:.3f}, KL at most {result.kl_upper_bound:.3f} nats"
    )
