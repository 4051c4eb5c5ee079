"""Commands that write files, each small enough to run many times."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from guerdon_training.config import BaseConfig
from tests.app.drawn_pairs import drawn_pairs
from tests.evaluation.data import pairs, write
from tests.feedback.candidates import record, stored
from tests.tiny import tiny
from tests.training_reward.runs import config, write_pairs

Arguments = Callable[[Path], list[str]]
"""The folder to write in, to the command's arguments."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the commands read: a folder of inputs, a service, and a package with a tiny base."""

    folder: Path
    url: str
    base: BaseConfig

    def convert(self, out: Path) -> list[str]:
        return ["data", "convert", str(self._pairs()), str(out / "pairs.jsonl.gz")]

    def split(self, out: Path) -> list[str]:
        prompts = [[{"role": "user", "content": f"p{i}"}] for i in range(40)]
        rows = [{"prompt": prompt, "chosen": "c", "rejected": "r"} for prompt in prompts]
        return ["data", "split", str(write(self.folder / "whole.jsonl", rows)), "--output", str(out)]

    def audit(self, out: Path) -> list[str]:
        return ["data", "audit", str(self._pairs()), "--html", str(out / "a.html")]

    def evaluate(self, out: Path) -> list[str]:
        argv = ["evaluate", "--model", str(tiny("bert")), "--data", str(self._pairs()), "--threads", "1"]
        return [*argv, "--report", str(out / "a.html"), "--markdown", str(out / "a.md")]

    def rewardbench(self, out: Path) -> list[str]:
        rows = [{"id": i, "prompt": "p", "chosen": f"c{i}", "rejected": "r", "subset": "s"} for i in range(4)]
        data = write(self.folder / "bench.jsonl", rows)
        argv = ["rewardbench", str(data), "--url", self.url, "--output", str(out / "a.json")]
        return [*argv, "--scores", str(out / "a.jsonl")]

    def export_feedback(self, out: Path) -> list[str]:
        url = f"sqlite:///{self.folder / 'state.db'}"
        if not (self.folder / "state.db").exists():
            stored(self.folder, [record("c1", ("8", -1.0), ("7", 2.0))])
        return ["data", "export", "--kind", "sft", "--state-url", url, "--output", str(out / "a.jsonl")]

    def suggest(self, out: Path) -> list[str]:
        rows = [{"prompt": "p", "candidates": [{"text": "a", "reward": 1.0}, {"text": "b", "reward": 2.0}]}]
        data = write(self.folder / "candidates.jsonl", rows)
        return ["data", "suggest", "--candidates", str(data), "--output", str(out / "a.jsonl")]

    def score(self, out: Path) -> list[str]:
        data = write(self.folder / "items.jsonl", [{"prompt": "p", "response": f"r{i}"} for i in range(4)])
        return ["score", str(data), "--url", self.url, "--output", str(out / "a.jsonl")]

    def bench(self, out: Path) -> list[str]:
        return [
            "bench",
            "--rows",
            "alias",
            "--rounds",
            "1",
            "--model",
            str(tiny("bert")),
            "--output",
            str(out),
        ]

    def export(self, out: Path) -> list[str]:
        """Into the artifact itself, which has a manifest."""
        model = out / "model"
        if not model.exists():
            shutil.copytree(self._artifact(), model)
        return ["export", "--model", str(model), "--dtype", "fp32"]

    def calibrate(self, out: Path) -> list[str]:
        path = self.folder / "held_out.jsonl"
        data = path if path.exists() else write(path, drawn_pairs(tiny("bert"), 120))
        argv = ["calibrate", "--model", str(tiny("bert")), "--data", str(data)]
        return [*argv, "--output", str(out / "model")]

    def train(self, out: Path) -> list[str]:
        folder = self.folder / "train"
        if not folder.exists():
            folder.mkdir()
            write_pairs(folder)
        values = config(self.base)
        values["optim"] |= {"epochs": 1}
        values |= {"data": {split: str(folder / f"{split}.jsonl") for split in ("train", "valid", "test")}}
        path = folder / f"{out.name}.yaml"
        path.write_text(yaml.safe_dump(values | {"output": str(out / "artifact")}), "utf-8")
        return ["train", "reward", str(path)]

    def _pairs(self) -> Path:
        path = self.folder / "pairs.jsonl"
        return path if path.exists() else write(path, pairs(12))

    def _artifact(self) -> Path:
        """A plain folder with the manifest that is inferred for it."""
        from guerdon_service.artifacts.read import read_artifact
        from guerdon_service.core.manifest import to_json

        folder = self.folder / "artifact"
        if not folder.exists():
            shutil.copytree(tiny("bert", 2), folder)
            text = to_json(read_artifact(str(folder)).manifest)
            (folder / "manifest.json").write_text(json.dumps(json.loads(text) | {"digest": ""}), "utf-8")
        return folder
