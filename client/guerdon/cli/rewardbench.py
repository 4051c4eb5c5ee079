"""``guerdon rewardbench``: RewardBench's data against a running service, results in RewardBench's shape."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from guerdon.cli.rewardbench_data import Case, read_cases
from guerdon.cli.rewardbench_scores import correctness, subset_scores
from guerdon.cli.service_args import add_service_arguments, open_client
from guerdon.cli.table import format_table
from guerdon.cli.whole_file import write_whole
from guerdon.client import Client
from guerdon.errors import InputTooLong, InvalidInput, ModelChanged
from guerdon.types import ModelRef, ScoreResult

CASES_AT_ONCE = 64
"""Between two steps of the progress bar; the client splits and sends them side by side."""

Row = dict[str, Any]


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "rewardbench",
        help="RewardBench 1 or 2 against a running service",
        description="Score RewardBench's records, {prompt, chosen, rejected, subset, id} with one response "
        "each (version 1) or lists of them (version 2), and write its JSON: the accuracy of each subset, "
        "of Ties its own score. Prompts with a response too long for the model are left out and counted.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="JSONL, plain or gzipped, or Parquet")
    add_service_arguments(parser)
    parser.add_argument("--model", help="name of a loaded model (default: the service's)")
    parser.add_argument("--profile", help="named head weights (default: the model's)")
    parser.add_argument("--output", metavar="OUT", type=Path, help="JSON to write: subset to accuracy")
    parser.add_argument(
        "--scores", metavar="OUT", type=Path, help="JSONL to write: the scores of each prompt"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score, then write; nothing is written before all is scored."""
    cases = list(chain.from_iterable(map(read_cases, args.files)))
    if not cases:
        raise InvalidInput("FILE holds no record; give RewardBench's data", param="FILE")
    for path in (args.output, args.scores):
        if path is not None and not path.parent.is_dir():
            raise InvalidInput(f"{path.parent} is no folder; make it first", param="OUT")
    with open_client(args) as client:
        rows, model = _score(client, cases, args.model, args.profile)
    found, num_left_out = subset_scores(rows), len(cases) - len(rows)
    names = {"model": model.name, "model_type": "Seq. Classifier", "chat_template": "tokenizer"}
    told = json.dumps(found | names | {"num_left_out": num_left_out}, indent=4, sort_keys=True) + "\n"
    if num_left_out:
        print(f"left out, too long for {model.name}: {num_left_out} of {len(cases)} prompts", file=sys.stderr)
    if args.scores is not None:
        write_whole(args.scores, "".join(json.dumps(row) + "\n" for row in rows))
    if args.output is not None:
        write_whole(args.output, told)
    sys.stdout.write(told if args.json else _table(rows, found) + "\n")
    return 0


def _score(
    client: Client, cases: Sequence[Case], model: str | None, profile: str | None
) -> tuple[list[Row], ModelRef]:
    """A row for each case that the model can take, and the model that scored them all."""
    from tqdm import tqdm

    rows: list[Row] = []
    scored_by: ModelRef | None = None
    with tqdm(total=len(cases), unit="prompt", desc="rewardbench", disable=None) as bar:
        for start in range(0, len(cases), CASES_AT_ONCE):
            batch = cases[start : start + CASES_AT_ONCE]
            for taken, result in _taken(client, batch, model, profile):
                scored_by = scored_by or result.model
                if result.model != scored_by:
                    raise ModelChanged(
                        f"model {scored_by.name} changed within the run; name one NAME@VERSION"
                    )
                rewards = iter([score.reward for score in result.scores])
                rows += [_row(case, [next(rewards) for _ in case.responses]) for case in taken]
            bar.update(len(batch))
    if scored_by is None:
        raise InvalidInput("every prompt of FILE has a response too long for the model", param="FILE")
    return rows, scored_by


def _taken(
    client: Client, batch: Sequence[Case], model: str | None, profile: str | None
) -> Iterator[tuple[Sequence[Case], ScoreResult]]:
    """The batch with its scores, or one case at a time those that the model can take: no response is cut."""
    items = [item for case in batch for item in case.items]
    try:
        yield batch, client.score(items, model=model, profile=profile, lane="bulk")
    except InputTooLong:
        if len(batch) > 1:
            for case in batch:
                yield from _taken(client, [case], model, profile)


def _row(case: Case, scores: list[float]) -> Row:
    row: Row = {"id": case.id, "subset": case.subset, "num_correct": case.num_correct, "scores": scores}
    return row | {"results": correctness(row)}


def _table(rows: Sequence[Row], found: dict[str, float]) -> str:
    counts = {name: sum(row["subset"] == name for row in rows) for name in found}
    body = [(name, str(counts[name]), f"{score:.4f}") for name, score in found.items()]
    return format_table([("subset", "prompts", "score"), *body])
