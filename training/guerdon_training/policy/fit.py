"""The loop of SFT and DPO: steps of packed rows, one update each, a checkpoint after every epoch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.policy.checkpoint import Checkpoint, Progress
from guerdon_training.policy.config import PolicyOptim
from guerdon_training.policy.metrics import MetricsLog
from guerdon_training.policy.schedule import learning_rate_factor


class Batch(Protocol):
    """What goes through the model at once; `num_units` is what its loss is a sum over (tokens, pairs)."""

    @property
    def num_units(self) -> int:
        """Tokens or pairs."""
        ...


B = TypeVar("B", bound=Batch)


@dataclass(frozen=True, slots=True)
class Job(Generic[B]):
    """What to fit.

    plan: steps of an epoch (0, 1, ...), `num_steps` of them, the same for the same number.
    loss: sum of the losses of a batch's units, a scalar.
    evaluate: figures on the valid split; `loss` among them decides which epoch is kept.
    identity: digest of everything that the weights depend on; a checkpoint with another is refused.
    folder: for checkpoints and the metrics log.
    """

    optim: PolicyOptim
    num_steps: int
    plan: Callable[[int], Iterable[Sequence[B]]]
    loss: Callable[[nn.Module, B], Tensor]
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    identity: str
    folder: Path


def fit(accelerator: Accelerator, model: nn.Module, job: Job[B]) -> Progress:
    """Train `model` in place, leaving the weights of the epoch with the lowest valid loss in it.

    Starts after the last epoch that a checkpoint in `job.folder` holds. The same job gives the same
    weights, interrupted or not.

    Raises:
        InvalidInput: the checkpoint there is another run's.
        FloatingPointError: the loss is not finite; the last checkpoint stays.
        OSError: a checkpoint could not be written; the one before stays.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job.optim.learning_rate, weight_decay=job.optim.weight_decay)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    prepared.train()
    checkpoint, best = Checkpoint(job.folder / "checkpoint"), job.folder / "best.safetensors"
    progress = checkpoint.progress(job.identity)
    if progress.num_epochs:
        checkpoint.restore(accelerator)
    log = MetricsLog(job.folder / "metrics.jsonl", accelerator.is_main_process, progress.num_epochs)
    for epoch in range(progress.num_epochs, job.optim.epochs):
        _epoch(accelerator, prepared, optimizer, job, epoch, log)
        figures = job.evaluate(prepared)
        log.write(epoch + 1, {f"valid/{name}": value for name, value in figures.items()})
        progress = replace(progress, num_epochs=epoch + 1)
        if figures["loss"] < progress.best_loss:
            progress = replace(progress, best_epoch=epoch + 1, best_loss=figures["loss"])
            _save_trained(accelerator, model, best)
        checkpoint.save(accelerator, progress)
    accelerator.wait_for_everyone()
    model.load_state_dict(load_file(best), strict=False)
    return progress


def _epoch(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    job: Job[B],
    epoch: int,
    log: MetricsLog,
) -> None:
    optim, num_updates = job.optim, job.optim.epochs * job.num_steps
    title, quiet = f"epoch {epoch + 1}/{optim.epochs}", not accelerator.is_main_process
    with tqdm(job.plan(epoch), title, job.num_steps, unit="step", disable=quiet) as progress:
        for number, step in enumerate(progress, start=epoch * job.num_steps):
            rate = optim.learning_rate * learning_rate_factor(
                number, num_updates, optim.warmup_share, optim.schedule
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = backward(accelerator, model, step, job.loss)
            if not isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss} at update {number + 1}; lower optim.learning_rate. The checkpoint "
                    f"after epoch {epoch} is intact"
                )
            norm = accelerator.clip_grad_norm_(model.parameters(), optim.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            progress.set_postfix(loss=f"{loss:.3f}")
            log.write(epoch + 1, {"loss": loss, "gradient_norm": float(norm), "learning_rate": rate})


def backward(
    accelerator: Accelerator, model: nn.Module, step: Sequence[B], loss: Callable[[nn.Module, B], Tensor]
) -> float:
    """Accumulate the gradient of the mean loss over all units of `step`; give that mean.

    The mean is over units, whichever batch or process they are in: averaging the batches' own means would
    give a short batch's units more weight. Processes average their gradients, hence the factor.
    """
    num_units = sum(batch.num_units for batch in step)
    share = list(shares(step, accelerator.process_index, accelerator.num_processes))
    total = torch.zeros((), device=accelerator.device)
    for place, (batch, weight) in enumerate(share, start=1):
        with nullcontext() if place == len(share) else accelerator.no_sync(model):
            value = loss(model, batch) * (weight / num_units)
            accelerator.backward(value * accelerator.num_processes)
            total += value.detach()
    return float(accelerator.reduce(total, "sum"))


def shares(step: Sequence[B], process: int, num_processes: int) -> Iterator[tuple[B, float]]:
    """Batches of one process, with weights. All get the same number, as collective operations demand:

    where the batches do not divide, the last ones are given out again with weight 0.
    """
    for first in range(0, len(step), num_processes):
        mine = first + process
        yield (step[mine], 1.0) if mine < len(step) else (step[-1], 0.0)


def _save_trained(accelerator: Accelerator, model: nn.Module, path: Path) -> None:
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    if accelerator.is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {n: t.detach().contiguous() for n, t in model.state_dict().items() if n in names}
        save_file(state, path)
