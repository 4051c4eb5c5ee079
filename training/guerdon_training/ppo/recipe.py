"""Recipe: a policy that earns more reward without leaving the reference, by PPO or by RLOO.

Read from top to bottom: `train_ppo` is the run, `optimise` its loop, `collect` one rollout; `episodes` turns
that into advantages, `update` takes the gradient steps. Runs in one process or, by ``accelerate launch``, in
several, to the same weights: they share what is sampled and every step, and each knows all episodes. An
interrupted run goes on after the last update that was saved.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from guerdon_service.core.manifest import Manifest, Norm
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.data import file_sha256
from guerdon_training.distributed import begin_processes, load_everywhere
from guerdon_training.model import check_max_tokens
from guerdon_training.policy.artifact import RUN, Origin, check_save, package_of, parents, write_policy
from guerdon_training.policy.base import policy_base
from guerdon_training.ppo.check import check_ppo
from guerdon_training.ppo.config import PpoConfig, PpoOptim
from guerdon_training.ppo.episodes import Episodes, describe, learnable
from guerdon_training.ppo.held_versions import hold_versions, keep_versions
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.log import keep_updates, read_updates, write_update
from guerdon_training.ppo.models import Networks, build_networks, whole_policy
from guerdon_training.ppo.progress import Job, Progress, evaluated, restore_best, resume, save
from guerdon_training.ppo.prompts import Prompt, prompt_order, read_prompts
from guerdon_training.ppo.rewards import open_reward
from guerdon_training.ppo.rollout import row_seed
from guerdon_training.ppo.scores import final_scores, fit_score_norm
from guerdon_training.ppo.together import evaluate_together, mean_over_processes, roll_out_together
from guerdon_training.ppo.update import check_sound, learning_rate, update
from guerdon_training.run_identity import run_identity
from guerdon_training.sharded import place
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
    accelerator = begin_processes(mixed_precision="no")
    load_everywhere()  # the reward model is whole in every process
    torch.set_num_threads(config.optim.num_threads)  # with several processes accelerate sets its own number
    folder = Path(config.output)

    # 1. Networks: the policy, the reference it is held to, and for PPO a critic.
    max_tokens = config.rollout.max_prompt_tokens + config.rollout.max_response_tokens
    check_max_tokens(
        policy_base(config.base), max_tokens, "rollout.max_prompt_tokens with max_response_tokens"
    )
    networks = build_networks(config, partial(place, accelerator))

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
        # 3. Rewards: the one that trains, and the one that only measures; of a service one version each.
        asked, config = config, hold_versions(accelerator, config, folder / RUN)
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
        if accelerator.is_main_process:
            keep_versions(asked, config, folder / RUN)
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
        max_tokens=max_tokens,
        base=package_of(config.base) if config.save == "adapter" else None,
        parents=lineage,
        metrics=metrics,
    )
    policy = whole_policy(networks, config, kept=accelerator.is_main_process)
    if policy is not None:
        with whole_folder(folder):
            (folder / "config.yaml").write_text(config_yaml(config), "utf-8")
            shutil.copyfile(job.run / LOG, folder / LOG)
            manifest = write_policy(folder, policy, networks.tokenizer, manifest, config.save)
        shutil.rmtree(job.run)
    accelerator.wait_for_everyone()
    return manifest


def optimise(accelerator: Accelerator, job: Job) -> dict[str, Any]:
    """Train the learner in place, from the last checkpoint in `job.run` if there is one.

    Returns:
        Figures for the manifest.
    """
    config, networks, is_main = job.config, job.networks, accelerator.is_main_process
    model = networks.learner
    job.run.mkdir(parents=True, exist_ok=True)
    log = job.run / LOG
    optimizer = torch.optim.Adam(parameter_groups(networks, config.optim), eps=config.optim.adam_eps)
    progress = resume(job, optimizer) or begin(accelerator, job)
    if is_main:
        keep_updates(log, progress.done)
    numbers, quiet = range(progress.done, config.optim.updates), None if is_main else True
    with tqdm(numbers, config.algorithm, unit="update", disable=quiet) as bar:
        for number in bar:
            # Sample, score, and see how far the policy is from the reference.
            episodes, figures = collect(accelerator, job, progress, number)
            if 0.0 < config.kl.stop <= figures["objective/kl"]:
                progress, on_valid = evaluated(accelerator, job, progress, ends=True)
                if is_main:
                    write_update(log, number + 1, figures | dict(on_valid) | {"stopped": 1.0})
                break

            # Learn from it.
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["start"], number, config.optim)
            order_seed = row_seed(config.seed, number, -1)
            figures |= update(accelerator, model, optimizer, episodes, config, order_seed)
            figures["lr"] = optimizer.param_groups[0]["lr"]

            # Move the KL coefficient; evaluate, log and save.
            batch = config.rollout.prompts_per_update * config.rollout.samples_per_prompt
            kl = progress.kl.after(figures["objective/kl"], batch)
            progress, ends = replace(progress, kl=kl, done=number + 1), number + 1 == config.optim.updates
            saves = (number + 1) % config.save_every == 0
            if saves or ends:
                check_sound(model, episodes, config, accelerator.device)
            progress, on_valid = evaluated(accelerator, job, progress, ends=ends)
            if is_main:
                write_update(log, number + 1, figures | dict(on_valid))
            if saves:
                save(accelerator, job, optimizer, progress)
            bar.set_postfix(score=f"{figures['objective/score']:.3f}", kl=f"{figures['objective/kl']:.2f}")
    accelerator.wait_for_everyone()
    if config.keep == "best":
        restore_best(job)
    lines = read_updates(log)
    accelerator.wait_for_everyone()  # all have read what the main process will remove
    kept = progress.best_update if config.keep == "best" else progress.done
    told = next((line for line in lines if line["update"] == kept), {})
    return {"updates": progress.done, "kept_update": kept, "start": lines[0], "last": lines[-1], "kept": told}


def begin(accelerator: Accelerator, job: Job) -> Progress:
    """Progress before the first update: the score's normalisation is fitted, the base is evaluated."""
    config = job.config
    norm, samples = Norm(), config.scores.normalise_samples
    if samples:
        order = prompt_order(len(job.train), 0, samples, config.seed)
        prompts, seeds = [job.train[i] for i in order], [row_seed(config.seed, -2, i) for i in range(samples)]
        scored = roll_out_together(accelerator, job.networks, prompts, seeds, [job.reward], config)
        norm = fit_score_norm(scored.scores[0])
    controller = KlController(config.kl.coefficient, config.kl.target, config.kl.horizon)
    progress, on_valid = evaluated(accelerator, job, Progress(controller, norm), ends=True)
    if accelerator.is_main_process:
        (job.run / LOG).unlink(missing_ok=True)
        write_update(job.run / LOG, 0, on_valid)
    return progress


def collect(
    accelerator: Accelerator, job: Job, progress: Progress, number: int
) -> tuple[Episodes, dict[str, float]]:
    """Episodes of update `number` and figures about them, the same in every process."""
    config, networks = job.config, job.networks
    prompts, seeds = batch_of(job.train, config, number)
    scored = roll_out_together(accelerator, networks, prompts, seeds, [job.reward], config)
    rollout, (raw,) = scored.rollout, scored.scores
    scores = final_scores(raw, rollout.finished, progress.norm, config.scores)
    sampled = evaluate_together(accelerator, networks.learner, rollout, config, with_entropy=True)
    with networks.as_reference():
        reference = evaluate_together(accelerator, networks.reference, rollout, config)
    beta = progress.kl.coefficient
    episodes = learnable(rollout, scores, sampled, reference, beta, config)
    figures = describe(episodes, scores, sampled, reference, beta)
    figures["response/refused"] = float(sum(r is None for r in raw))
    return episodes, mean_over_processes(accelerator, figures)


def batch_of(prompts: list[Prompt], config: PpoConfig, number: int) -> tuple[list[Prompt], list[int]]:
    """A prompt and a seed for each response of update `number`; the samples of a prompt are neighbours."""
    count, samples = config.rollout.prompts_per_update, config.rollout.samples_per_prompt
    order = prompt_order(len(prompts), number * count, count, config.seed)
    repeated = [prompts[i] for i in order for _ in range(samples)]
    return repeated, [row_seed(config.seed, number, row) for row in range(count * samples)]


def parameter_groups(networks: Networks, optim: PpoOptim) -> list[dict[str, Any]]:
    """What trains; `start` is the learning rate that anneals to 0."""
    groups = [(networks.learner.policy, optim.learning_rate)]
    if networks.learner.value is not None:
        groups.append((networks.learner.value, optim.value_learning_rate or optim.learning_rate))
    return [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate, "start": rate}
        for module, rate in groups
    ]
