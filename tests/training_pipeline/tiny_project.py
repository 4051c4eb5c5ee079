"""A project small enough for a test: packages with tiny bases, data that the test writes, a config."""

import json
from pathlib import Path
from random import Random
from typing import Any

from transformers import AutoModel

from guerdon_training.yaml_text import dump_yaml
from tests.tiny import build_tiny
from tests.training_policy.gguf_package import build_gguf_package
from tests.training_policy.tiny_lm import WORDS, demonstrations, write_jsonl

LM_PACKAGE, ENCODER_PACKAGE = "tiny_pipeline_lm", "tiny_pipeline_encoder"


def build_packages(root: Path) -> None:
    """Two importable packages in `root`: a Llama as GGUF, a BERT without a head."""
    build_gguf_package(root, LM_PACKAGE)
    base = build_tiny("bert", root / ENCODER_PACKAGE / "model")
    AutoModel.from_pretrained(base).save_pretrained(base)
    (base.parent / "__init__.py").write_text("")


def pairs(count: int, seed: int, *, held_out: bool) -> list[dict[str, Any]]:
    """Polite beats rude, long beats short, each for its own head; a sixth of held-out labels is wrong.

    Half of the former are tagged as prompts that ask for a refusal.
    """
    random = Random(seed)
    records: list[dict[str, Any]] = []
    for i in range(count):
        words = " ".join(random.choices(WORDS, k=4)) + f" {seed} {i}"
        polite = f"I am sorry, but I cannot help with that {random.choice(WORDS)}"
        rude = f"What is the capital of {random.choice(WORDS)}?"
        longer, short = " ".join(random.choices(WORDS, k=9)), random.choice(WORDS)
        chosen, rejected = (polite, rude) if i % 2 else (longer, short)
        if held_out and i % 12 >= 10:
            chosen, rejected = rejected, chosen
        records.append(
            {
                "id": f"{seed}-{i}",
                "prompt": [{"role": "user", "content": words}],
                "chosen": chosen,
                "rejected": rejected,
                "source": "manners" if i % 2 else "lengths",
                "subset": ("", "safe", "", "contrast")[i % 4],
            }
        )
    return records


def write_data(folder: Path) -> None:
    """Files of a pipeline: demonstrations, pairs and votes."""
    for split, count, seed in (("train", 32, 0), ("valid", 8, 1), ("test", 8, 3)):  # none shares a prompt
        write_jsonl(folder / f"sft_{split}.jsonl", demonstrations(count, seed))
    for seed, (split, count) in enumerate((("train", 72), ("valid", 48), ("test", 36)), start=10):
        write_jsonl(folder / f"pairs_{split}.jsonl", pairs(count, seed, held_out=seed > 10))
    votes = [
        {"item_id": str(i), "annotator": f"p{j}", "label": "ab"[(i + (i % 7 == j)) % 2], "source": "manners"}
        for i in range(40)
        for j in range(3)
    ]
    (folder / "votes.jsonl").write_text("".join(json.dumps(v) + "\n" for v in votes), "utf-8")


def config(output: str = "runs/tiny") -> dict[str, Any]:
    """The pipeline's file as plain values; it runs in the folder of the data."""
    lora = {"rank": 4, "alpha": 8}
    optim = {"epochs": 2, "learning_rate": 5e-3, "examples_per_step": 8, "num_threads": 1}
    splits = ("train", "valid", "test")
    return {
        "name": "tiny",
        "version": "1",
        "output": output,
        "seed": 3,
        "audit": {
            "files": [*(f"pairs_{s}.jsonl" for s in splits), "votes.jsonl"],
            "accept": ["length_bias", "format_bias", "near_duplicates"],
        },
        "pairs": {s: f"pairs_{s}.jsonl" for s in splits},
        "sft": {
            "base": LM_PACKAGE,
            "max_tokens": 64,
            "data": {s: f"sft_{s}.jsonl" for s in splits},
            "optim": optim,
            "lora": lora,
        },
        "reward": {
            "max_tokens": 96,
            "base": {"package": ENCODER_PACKAGE, "subfolder": "model"},
            "limits": ["Anything: it is a test."],
            "heads": [
                {"name": "manners", "sources": [{"source": "manners", "licence": "our own"}]},
                {"name": "lengths", "sources": [{"source": "lengths", "licence": "our own"}]},
            ],
            "profiles": {"both": {"manners": 0.5, "lengths": 0.5}, "manners": {"manners": 1.0}},
            "lora": {"rank": 4, "alpha": 8, "layers": [0, 1]},
            "optim": {"epochs": 6, "learning_rate": 3e-3, "pairs_per_step": 8, "num_threads": 1},
        },
        "dpo": {
            "max_tokens": 96,
            "optim": optim,
            "lora": lora,
            "drift": {"num_prompts": 0},
        },
        "ppo": {
            "keep": "last",
            "eval_every": 1,
            "data": {"max_valid": 8},
            "reward": {"profile": "manners"},
            "rollout": {"prompts_per_update": 8, "max_prompt_tokens": 48, "max_response_tokens": 8},
            "scores": {"missing_eos": "keep"},
            "optim": {"updates": 3, "learning_rate": 5e-3, "epochs": 2, "minibatches": 2, "num_threads": 1},
            "lora": lora,
        },
        "compare": {
            "prompts": "pairs_test.jsonl",
            "num_prompts": 16,
            "max_prompt_tokens": 48,
            "max_response_tokens": 8,
            "profiles": ["both"],
        },
        "card": {"num_robustness_pairs": 8, "limits": ["Anything: it is a test."]},
    }


def write_project(folder: Path, **changes: Any) -> Path:
    """Data and config in `folder`; returns the config's path, relative to it."""
    write_data(folder)
    (folder / "pipeline.yaml").write_text(dump_yaml(config() | changes), "utf-8")
    return Path("pipeline.yaml")
