"""The loop of SFT, DPO and reward-lm: steps of packed rows, and a checkpoint after every epoch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.whole_file import whole_file
from guerdon_training.distributed import shares
from guerdon_training.policy.config import PolicyOptim
from guerdon_training.policy.metrics import MetricsLog
from guerdon_training.policy.schedule import learning_rate_factor
from guerdon_training.policy.trainee import Trainee, accelerated
from guerdon_training.ppo.checkpoint import CHECKPOINT, load_state, save_state
from guerdon_training.zero_options import zero_options

BEST = "best.safetensors"
"""File of a run with the trained weights of the epoch that is kept."""


class Batch(Protocol):
    """What goes through the model at once; `num_units` is what its loss is a sum over (tokens, pairs)."""

    @property
    def num_units(self) -> int:
        """Tokens or pairs."""
        ...


B = TypeVar("B", bound=Batch)


@dataclass(frozen=True, slots=True)
class Terms:
    """Scalars of one batch, each summed over its units: the loss, and figures that are only logged."""

    loss: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job(Generic[B]):
    """What to fit.

    plan: steps of an epoch (0, 1, ...), `num_steps` of them, the same for the same number.
    terms: of a batch, under the model as it is.
    evaluate: figures on the valid split; `loss` among them decides which epoch is kept.
    identity: see `run_identity`; a checkpoint of another run is refused.
    folder: for checkpoints and the metrics log.
    """

    optim: PolicyOptim
    num_steps: int
    plan: Callable[[int], Iterable[Sequence[B]]]
    terms: Callable[[nn.Module, B], Terms]
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    identity: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Progress:
    """num_epochs: done. best_epoch, best_loss: on valid so far."""

    num_epochs: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")


def fit(accelerator: Accelerator, model: nn.Module, job: Job[B]) -> Progress:
    """Train `model` in place, leaving the weights of the epoch with the lowest valid loss in it.

    Starts after the last epoch that a checkpoint in `job.folder` holds. The same job gives the same
    weights, interrupted or not.

    Raises:
        InvalidInput: the checkpoint there is another run's.
        GuerdonError: the loss is not finite, or a checkpoint could not be written; the last one stays.
    """
    trainee = _trainee(accelerator, model, job.optim)
    trainee.model.train()
    path, best, is_main = job.folder / CHECKPOINT, job.folder / BEST, accelerator.is_main_process
    saved, progress = load_state(path, job.identity), Progress()
    if saved is not None:
        progress = Progress(**saved["progress"])
        trainee.load(saved["trained"])
        trainee.restore(saved)
    log = MetricsLog(job.folder / "metrics.jsonl", is_main, progress.num_epochs)
    for epoch in range(progress.num_epochs, job.optim.epochs):
        _epoch(accelerator, trainee, job, epoch, log)
        figures = job.evaluate(trainee.model)
        if not isfinite(figures["loss"]):
            raise GuerdonError(
                f"the valid loss is {figures['loss']} after epoch {epoch + 1}; lower optim.learning_rate. "
                f"The checkpoint after epoch {epoch} is intact",
                param="optim.learning_rate",
            )
        log.write(epoch + 1, {f"valid/{name}": value for name, value in figures.items()})
        progress = replace(progress, num_epochs=epoch + 1)
        weights, state = trainee.weights(), trainee.state()
        if figures["loss"] < progress.best_loss:
            progress = replace(progress, best_epoch=epoch + 1, best_loss=figures["loss"])
            if is_main:
                _save_best(weights, best)
        if is_main:
            save_state(
                path,
                {
                    "identity": job.identity,
                    "progress": asdict(progress),
                    "trained": weights,
                    **state,
                },
            )
    accelerator.wait_for_everyone()
    trainee.load(load_file(best))
    accelerator.wait_for_everyone()  # all have read what the main process will remove
    return progress


def _trainee(accelerator: Accelerator, model: nn.Module, optim: PolicyOptim) -> Trainee:
    options = zero_options()
    if options is None:
        return accelerated(accelerator, model, optim)
    from guerdon_training.policy.zero import zero  # DeepSpeed is an extra

    return zero(accelerator, model, optim, options)


def _epoch(accelerator: Accelerator, trainee: Trainee, job: Job[B], epoch: int, log: MetricsLog) -> None:
    optim, num_updates = job.optim, job.optim.epochs * job.num_steps
    title, quiet = f"epoch {epoch + 1}/{optim.epochs}", None if accelerator.is_main_process else True
    with tqdm(job.plan(epoch), title, job.num_steps, unit="step", disable=quiet) as progress:
        for number, step in enumerate(progress, start=epoch * job.num_steps):
            rate = optim.learning_rate * learning_rate_factor(
                number, num_updates, optim.warmup_share, optim.schedule
            )
            figures = backward(accelerator, trainee, step, job.terms)
            if not isfinite(figures["loss"]):
                raise GuerdonError(
                    f"the loss is {figures['loss']} at update {number + 1}; lower optim.learning_rate. The "
                    f"checkpoint after epoch {epoch} is intact",
                    param="optim.learning_rate",
                )
            norm = trainee.step(rate)
            progress.set_postfix(loss=f"{figures['loss']:.3f}")
            log.write(epoch + 1, {**figures, "gradient_norm": norm, "learning_rate": rate})


def backward(
    accelerator: Accelerator, trainee: Trainee, step: Sequence[B], terms: Callable[[nn.Module, B], Terms]
) -> dict[str, float]:
    """Accumulate the gradient of the mean loss over all units of `step`; give the means of all terms.

    The mean is over units, whichever batch or process they are in: averaging the batches' own means would
    give a short batch's units more weight. Processes average their gradients, hence the factor.
    """
    num_units = sum(batch.num_units for batch in step)
    share = list(shares(step, accelerator.process_index, accelerator.num_processes))
    totals: dict[str, Tensor] = {}
    for place, (batch, weight) in enumerate(share, start=1):
        with trainee.batch(is_last=place == len(share)):
            found = terms(trainee.model, batch)
            trainee.backward(found.loss * (weight * accelerator.num_processes / num_units))
        for name, value in {"loss": found.loss, **found.figures}.items():
            totals[name] = totals.get(name, torch.zeros(())) + value.detach() * (weight / num_units)
    return {name: float(value) for name, value in accelerator.reduce(totals, "sum").items()}


def _save_best(weights: dict[str, Tensor], path: Path) -> None:
    """Replace the file whole or not at all.

    Raises:
        GuerdonError: it could not be written; what it held stays.
    """
    try:
        with whole_file(path) as draft:
            save_file({name: w.contiguous() for name, w in weights.items()}, draft)
    except (OSError, SafetensorError) as err:
        raise GuerdonError(
            f"{path} could not be written ({err}); free space and start again: the run goes on after its "
            "last whole epoch"
        ) from err
