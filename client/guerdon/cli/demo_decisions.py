"""The demo's second half: register, evaluate, promote, best-of-n, roll back, over REST and gRPC."""

import time
from pathlib import Path

from guerdon.cli.best_of_n import candidate_line, result_line
from guerdon.cli.demo_load import scoring_all_the_time
from guerdon.cli.demo_preferences import for_calibration, held_out, write_held_out
from guerdon.cli.demo_versions import CANDIDATE, INCUMBENT, NAME, fit_slope, make_candidate, make_incumbent
from guerdon.cli.service_process import Addresses
from guerdon.cli.table import format_table
from guerdon.cli.whole_file import write_whole
from guerdon.client import Client
from guerdon.errors import GateRefused, GuerdonError
from guerdon.types import AliasChange, BestOfNResult, Evaluation

DATASET = "held-out.jsonl"
POLICY = "smollm2"
NUM_SAMPLES = 8
PROMPT = "Give me one tip for a good night's sleep."
OVERRIDE = "guerdon demo shows what follows a promotion; the gate's reasons stand beside this one"
FLIP_S = 10.0
"""How long a reply of another version may take, in seconds: far more than it does."""


def show_decisions(service: Addresses, folder: Path, report: Path) -> None:
    """All of it; the service has `folder`'s ``data`` and ``models`` as its own.

    Raises:
        GuerdonError: something failed, or is not as it must be.
    """
    with Client(service.rest) as rest, Client(service.grpc) as grpc:
        _register(rest, grpc, folder)
        evaluation = _evaluate(rest, grpc, folder)
        write_whole(report, rest.evaluation_report(evaluation.id))
        print(f"report: {report}")
        item = (held_out()[0]["prompt"], held_out()[0]["chosen"])
        with scoring_all_the_time(service.rest, NAME, item) as seen:
            before = grpc.score([item], model=NAME).scores[0].reward
            _promote(grpc, evaluation)
            seen.wait_for(CANDIDATE, FLIP_S)
            _best_of_n(rest, grpc)
            asked = time.monotonic()
            rest.rollback(NAME, "the demo shows it")
            after = grpc.score([item], model=NAME)
            took_s = seen.wait_for(INCUMBENT, FLIP_S) - asked
        if seen.failures or after.scores[0].reward != before:
            raise GuerdonError(f"the rollback was noticed: {seen.failures[:1] or 'another score'}")
        print(
            f"\nrolled back: the old scores were back after {took_s * 1000:.0f} ms; {len(seen.rewards)} "
            "requests of a background caller meanwhile, none failed"
        )


def _register(rest: Client, grpc: Client, folder: Path) -> None:
    print("\nregistering two versions of a reward model ...", flush=True)
    (folder / "models").mkdir()
    make_incumbent(folder / "models" / "incumbent")
    _told(rest.register(NAME, "incumbent").digest, INCUMBENT, "judges by helpfulness alone: the champion")
    pairs = [(r["prompt"], r["chosen"], r["rejected"]) for r in for_calibration()]
    compared = rest.compare(pairs, model=NAME, profile="balanced", lane="bulk")
    slope = fit_slope([preference.margin for preference in compared.preferences])
    make_candidate(folder / "models" / "candidate", slope)
    about = "harmlessness as well" + (f", calibrated on {slope.num_pairs} other pairs" if slope else "")
    _told(grpc.register(NAME, "candidate").digest, CANDIDATE, about)


def _told(digest: str, version: str, about: str) -> None:
    print(f"  {NAME}@{version}  {digest[:12]}  {about}", flush=True)


def _evaluate(rest: Client, grpc: Client, folder: Path) -> Evaluation:
    from tqdm import tqdm

    (folder / "data").mkdir()
    num_pairs = write_held_out(folder / "data" / DATASET)
    print(f"\nevaluating {NAME}@{CANDIDATE} against {NAME}@{INCUMBENT} on {num_pairs} held-out pairs ...")
    with tqdm(unit="item", desc="evaluate", disable=None) as bar:

        def show(state: Evaluation) -> None:
            bar.total = state.total or None
            bar.update(state.done - bar.n)

        done = grpc.evaluate(f"{NAME}@{CANDIDATE}", DATASET, baseline=f"{NAME}@{INCUMBENT}", on_progress=show)
    if done.state != "done" or done.accuracy is None or done.delta is None or done.report is None:
        raise GuerdonError(f"the evaluation {done.id} is {done.state}: {done.error}")
    if rest.evaluation(done.id) != done:
        raise GuerdonError("REST and gRPC tell of the evaluation differently; this is a bug in the service")
    rows = [("what", "value", "low", "high")] + [
        (name, f"{figure.value:+.3f}", f"{figure.low:+.3f}", f"{figure.high:+.3f}")
        for name, figure in (("accuracy", done.accuracy), ("difference to the champion", done.delta))
    ]
    print(format_table(rows))
    print(f"verdict: {done.verdict} (95 % intervals; REST and gRPC tell the same)")
    return done


def _promote(grpc: Client, evaluation: Evaluation) -> None:
    try:
        change = grpc.promote(NAME, CANDIDATE, evaluation_id=evaluation.id)
    except GateRefused as refused:
        print(f"\nthe gate refuses: {refused.message}")
        change = grpc.promote(NAME, CANDIDATE, evaluation_id=evaluation.id, override_reason=OVERRIDE)
    print(f"\n{change.action}: {NAME}@{change.alias} is {change.version}, was {change.previous}")
    print(format_table([("gate", "", "what it saw"), *_checks(change)]))


def _checks(change: AliasChange) -> list[tuple[str, ...]]:
    marks = {True: "passed", False: "failed", None: "not asked"}
    return [(check.name, marks[check.passed], check.detail[:80]) for check in change.checks]


def _best_of_n(rest: Client, grpc: Client) -> None:
    print(f"\nbest of {NUM_SAMPLES} by {POLICY} for {PROMPT!r}; each candidate as it is scored:", flush=True)

    def ask(client: Client, show: bool) -> BestOfNResult:
        return client.best_of_n(
            POLICY,
            PROMPT,
            NUM_SAMPLES,
            max_tokens=32,
            temperature=0.7,
            model=NAME,
            seed=1,
            on_candidate=(lambda c: print(candidate_line(c), flush=True)) if show else None,
        )

    streamed, again = ask(grpc, True), ask(rest, False)
    chosen = streamed.chosen
    print(result_line(streamed))
    print(f"chosen: {' '.join(chosen.response.split()) if chosen else 'none'}")
    if _pure(streamed) != _pure(again):
        raise GuerdonError("REST and gRPC chose differently; this is a bug in the service")
    print("REST and gRPC give the same candidates, scores and choice")


def _pure(result: BestOfNResult) -> object:
    return result.best, [(c.index, c.response, c.score.reward) for c in result.candidates]
