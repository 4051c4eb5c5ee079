"""Recipe: a policy that earns more reward without leaving the reference, by PPO or by RLOO.

Read from top to bottom: `train_ppo` is the run, `optimise` its loop, `collect` one rollout; `episodes` turns
that into advantages, `update` takes the gradient steps. Runs on one process or, by ``accelerate launch``, on
several (DDP); an interrupted run goes on after the last update that was saved, to the same weights.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, Norm
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.data import file_sha256
from guerdon_training.distributed import begin_processes
from guerdon_training.policy.artifact import RUN, Origin, check_save, package_of, parents, write_policy
from guerdon_training.ppo.check import check_ppo
from guerdon_training.ppo.config import PpoConfig, PpoOptim
from guerdon_training.ppo.episodes import Episodes, describe, learnable
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.log import keep_updates, read_updates, write_update
from guerdon_training.ppo.models import Networks, build_networks
from guerdon_training.ppo.progress import Job, Progress, evaluated, restore_best, resume, save
from guerdon_training.ppo.prompts import Prompt, prompt_order, read_prompts
from guerdon_training.ppo.rewards import open_reward
from guerdon_training.ppo.rollout import evaluate_episodes, roll_out, row_seed
from guerdon_training.ppo.scores import final_scores, fit_score_norm
from guerdon_training.ppo.update import check_sound, learning_rate, update
from guerdon_training.run_identity import run_identity
from guerdon_training.splits import check_splits

LOG = "metrics.jsonl"


def train_ppo(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Train and write the policy that the YAML file at `config_path` describes.

    Args:
        overrides: ``key=value`` each, as after ``--set``.

    Raises:
        InvalidInput: the config, the data, the base or the reward cannot be used; nothing was written then.
        GuerdonError: a loss is not finite, or a checkpoint cannot be written; the last checkpoint stays.
        guerdon.GuerdonError: the reward service failed, retries included; the last checkpoint stays.
    """
    config = read_config(config_path, PpoConfig, overrides)
    check_ppo(config)
    check_save(config.save, config.base, config.lora.rank)
    # rounding of bf16 would enter every ratio
    accelerator = begin_processes(shards=False, mixed_precision="no")
    torch.set_num_threads(config.optim.num_threads)  # with several processes accelerate sets its own number
    folder = Path(config.output)

    # 1. Networks: the policy, the reference it is held to, and for PPO a critic.
    networks = build_networks(config).to(accelerator.device)

    # 2. Prompts.
    files = {name: path for name in ("train", "valid") if (path := getattr(config.data, name))}
    prompts = {
        name: read_prompts(
            Path(path),
            networks.tokenizer,
            max_tokens=config.rollout.max_prompt_tokens,
            sources=config.data.sources,
            limit=getattr(config.data, f"max_{name}"),
            seed=config.seed,
        )
        for name, path in files.items()
    }
    check_splits(
        files, {s: ((f"prompt {i}", p.messages) for i, p in enumerate(prompts[s], 1)) for s in prompts}
    )

    with ExitStack() as stack:
        # 3. Rewards: the one that trains, and the one that only measures.
        reward = stack.enter_context(open_reward(config.reward, accelerator.device))
        gold = (
            stack.enter_context(open_reward(config.gold, accelerator.device)) if config.gold.given else None
        )
        lineage = parents(
            Origin(config.base, networks.base),
            config,
            {split: file_sha256(Path(path)) for split, path in files.items()},
        ) | {"reward": dict(reward.identity), "gold": dict(gold.identity) if gold else None}

        # 4. Updates.
        job = Job(
            config,
            networks,
            prompts["train"],
            prompts.get("valid", []),
            reward,
            gold,
            run_identity(lineage),
            folder / RUN,
        )
        metrics = optimise(accelerator, job)

    # 5. The artifact.
    manifest = Manifest(
        name=config.name,
        version=config.version,
        kind="policy",
        heads=(),
        profiles={},
        max_tokens=config.rollout.max_prompt_tokens + config.rollout.max_response_tokens,
        base=package_of(config.base) if config.save == "adapter" else None,
        parents=lineage,
        metrics=metrics,
    )
    if accelerator.is_main_process:
        with whole_folder(folder):
            (folder / "config.yaml").write_text(config_yaml(config), "utf-8")
            shutil.copyfile(job.run / "metrics.jsonl", folder / "metrics.jsonl")
            policy, tokenizer = networks.learner.policy, networks.tokenizer
            manifest = write_policy(folder, policy, tokenizer, manifest, config.save)
        shutil.rmtree(job.run)
    accelerator.wait_for_everyone()
    return manifest


def optimise(accelerator: Accelerator, job: Job) -> dict[str, Any]:
    """Train the learner in place, from the last checkpoint in `job.run` if there is one.

    Returns:
        Figures for the manifest.
    """
    config, networks, is_main = job.config, job.networks, accelerator.is_main_process
    job.run.mkdir(parents=True, exist_ok=True)
    log = job.run / LOG
    optimizer: Any = torch.optim.Adam(parameter_groups(networks, config.optim), eps=config.optim.adam_eps)
    model, optimizer = accelerator.prepare(networks.learner, optimizer)
    progress = resume(job, optimizer) or begin(job, is_main)
    if is_main:
        keep_updates(log, progress.done)
    with tqdm(
        range(progress.done, config.optim.updates), config.algorithm, unit="update", disable=not is_main
    ) as bar:
        for number in bar:
            # Sample, score, and see how far the policy is from the reference.
            episodes, figures = collect(accelerator, job, progress, number)
            if 0.0 < config.kl.stop <= figures["objective/kl"]:
                progress, on_valid = evaluated(job, progress, is_main, ends=True)
                if is_main:
                    write_update(log, number + 1, figures | dict(on_valid) | {"stopped": 1.0})
                break

            # Learn from it.
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["start"], number, config.optim)
            order_seed = row_seed(config.seed, number, -1)
            stepped = update(accelerator, model, optimizer, episodes, config, order_seed)
            figures |= mean_over_processes(accelerator, stepped) | {"lr": optimizer.param_groups[0]["lr"]}

            # Move the KL coefficient; evaluate, log and save.
            batch = config.rollout.prompts_per_update * config.rollout.samples_per_prompt
            kl = progress.kl.after(figures["objective/kl"], batch)
            progress, ends = replace(progress, kl=kl, done=number + 1), number + 1 == config.optim.updates
            saves = (number + 1) % config.save_every == 0
            if saves or ends:
                check_sound(model, episodes, config, accelerator.device)
            progress, on_valid = evaluated(job, progress, is_main, ends=ends)
            if is_main:
                write_update(log, number + 1, figures | dict(on_valid))
                if saves:
                    save(job, optimizer, progress)
            bar.set_postfix(score=f"{figures['objective/score']:.3f}", kl=f"{figures['objective/kl']:.2f}")
    accelerator.wait_for_everyone()
    if config.keep == "best":
        restore_best(job)
    lines = read_updates(log)
    accelerator.wait_for_everyone()  # all have read what the main process will remove
    kept = progress.best_update if config.keep == "best" else progress.done
    return {"updates": progress.done, "kept_update": kept, "start": lines[0], "last": lines[-1]}


def begin(job: Job, is_main: bool) -> Progress:
    """Progress before the first update: the score's normalisation is fitted, the base is evaluated."""
    config = job.config
    norm, samples = Norm(), config.scores.normalise_samples
    if samples:
        order = prompt_order(len(job.train), 0, samples, config.seed)
        prompts, seeds = [job.train[i] for i in order], [row_seed(config.seed, -2, i) for i in range(samples)]
        rollout = roll_out(
            job.networks.learner.policy, job.networks.tokenizer, prompts, seeds, config.rollout
        )
        norm = fit_score_norm(job.reward.score(rollout.conversations))
    controller = KlController(config.kl.coefficient, config.kl.target, config.kl.horizon)
    progress, on_valid = evaluated(job, Progress(controller, norm), is_main, ends=True)
    if is_main:
        (job.run / LOG).unlink(missing_ok=True)
        write_update(job.run / LOG, 0, on_valid)
    return progress


def collect(
    accelerator: Accelerator, job: Job, progress: Progress, number: int
) -> tuple[Episodes, dict[str, float]]:
    """This process's episodes of update `number`, and figures over all processes."""
    config, networks = job.config, job.networks
    prompts, seeds = share(job.train, config, number, accelerator.process_index, accelerator.num_processes)
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, seeds, config.rollout)
    raw = job.reward.score(rollout.conversations)
    scores = final_scores(raw, rollout.finished, progress.norm, config.scores)
    temperature, budget = config.rollout.temperature, config.optim.max_row_tokens
    sampled = evaluate_episodes(networks.learner, rollout, temperature, budget, with_entropy=True)
    with networks.as_reference():
        reference = evaluate_episodes(networks.reference, rollout, temperature, budget)
    beta = progress.kl.coefficient
    episodes = learnable(rollout, scores, sampled, reference, beta, config)
    figures = describe(episodes, scores, sampled, reference, beta)
    figures["response/refused"] = float(sum(r is None for r in raw))
    return episodes, mean_over_processes(accelerator, figures)


def share(
    prompts: list[Prompt], config: PpoConfig, number: int, process: int, num_processes: int
) -> tuple[list[Prompt], list[int]]:
    """Prompts and seeds of one process for update `number`; the samples of a prompt are neighbours.

    No two processes share a prompt of a pass or a seed.

    Raises:
        InvalidInput: the prompts of an update cannot be shared out equally, or make fewer responses than
            minibatches.
    """
    count, samples = config.rollout.prompts_per_update, config.rollout.samples_per_prompt
    if count % num_processes:
        raise InvalidInput(
            f"config rollout.prompts_per_update is {count}; give a multiple of the {num_processes} processes",
            param="rollout.prompts_per_update",
        )
    if count * samples // num_processes < config.optim.minibatches:
        raise InvalidInput(
            f"config optim.minibatches is {config.optim.minibatches}, more than one process has responses; "
            "lower it, or raise rollout.prompts_per_update",
            param="optim.minibatches",
        )
    order = prompt_order(len(prompts), number * count, count, config.seed)
    mine = [(place, j) for place in range(process, count, num_processes) for j in range(samples)]
    seeds = [row_seed(config.seed, number, place * samples + j) for place, j in mine]
    return [prompts[order[place]] for place, _ in mine], seeds


def parameter_groups(networks: Networks, optim: PpoOptim) -> list[dict[str, Any]]:
    """What trains; `start` is the learning rate that anneals to 0."""
    groups = [(networks.learner.policy, optim.learning_rate)]
    if networks.learner.value is not None:
        groups.append((networks.learner.value, optim.value_learning_rate or optim.learning_rate))
    return [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate, "start": rate}
        for module, rate in groups
    ]


def mean_over_processes(accelerator: Accelerator, figures: dict[str, float]) -> dict[str, float]:
    """The same figures on every process; all must call it with the same names."""
    values = torch.tensor(list(figures.values()), dtype=torch.float32, device=accelerator.device)
    return dict(zip(figures, accelerator.reduce(values, "mean").tolist(), strict=True))
