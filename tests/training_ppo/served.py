"""Reward artifacts of every kind, and the real service over real sockets that holds them."""

import asyncio
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import peft
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.manifest import Head, Manifest, Norm, PackageBase, Profile, to_json
from guerdon_training.artifact import MANIFEST, seal
from guerdon_training.data import file_sha256
from tests.contract.harness import served
from tests.tiny import build_tiny

PACKAGE = "tiny_ppo_reward_base"
HEADS = (Head("a", "a", Norm(0.2, 0.7)), Head("b1", "b", Norm(-0.1, 1.5)), Head("b2", "b"))
PROFILES = {
    "mixed": Profile({"a": 0.5, "b": 2.0}),
    "careful": Profile({"b": 1.0}, conservatism=1.5),
}


def plain_artifact(folder: Path, arch: str, **changes: object) -> Path:
    """Whole weights with a manifest: two heads of one attribute, a conservative profile."""
    build_tiny(arch, folder, num_labels=3, seed=len(arch))
    fields: dict[str, object] = {
        "name": folder.name,
        "version": "1",
        "heads": HEADS,
        "profiles": PROFILES,
        "max_tokens": 96,
        "encoding": "pair" if arch == "bert" else "template",
    }
    manifest = Manifest(**(fields | changes))  # type: ignore[arg-type]
    (folder / MANIFEST).write_text(to_json(manifest), "utf-8")
    return folder


def adapter_artifact(folder: Path) -> Path:
    """LoRA and head on a base that a package carries, as `guerdon train reward` writes it."""
    root = folder.parent / "packages"
    base = build_tiny("bert", root / PACKAGE / "model", num_labels=3)
    AutoModel.from_pretrained(base).save_pretrained(base)  # an encoder without a head
    (base.parent / "__init__.py").write_text("")
    sys.path.insert(0, str(root))
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    model.name_or_path = PACKAGE
    lora = peft.LoraConfig(
        task_type=peft.TaskType.SEQ_CLS,
        target_modules=["query", "value"],
        modules_to_save=["classifier", "pooler"],
        init_lora_weights=False,
    )
    peft.get_peft_model(model, lora).save_pretrained(str(folder / "adapter"))
    (folder / "adapter" / "README.md").unlink()
    pinned = PackageBase(PACKAGE, "model", file_sha256(base / "model.safetensors"))
    seal(folder, Manifest(folder.name, "1", HEADS, PROFILES, 96, encoding="pair", base=pinned), base)
    return folder


def all_artifacts(root: Path) -> dict[str, Path]:
    """By name: pair encoding, template with pad == EOS, last-token pooling, an adapter on a package."""
    return {
        "pair": plain_artifact(root / "pair", "bert"),
        "chat": plain_artifact(root / "chat", "llama"),
        "last": plain_artifact(root / "last", "qwen2", pooling="last"),
        "adapter": adapter_artifact(root / "adapter"),
    }


@dataclass(frozen=True)
class Urls:
    """Where a service listens."""

    rest: str
    grpc: str


@contextmanager
def running(specs: Sequence[ModelSpec]) -> Iterator[Urls]:
    """The service in a thread of its own, for as long as the block runs."""
    started, stop = threading.Event(), asyncio.Event()
    found: list[Urls] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with served(*specs, load=load_model) as at:
            found.append(Urls(f"http://127.0.0.1:{at.port}", f"grpc://127.0.0.1:{at.grpc_port}"))
            started.set()
            await stop.wait()

    def body() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=body)
    thread.start()
    try:
        started.wait()
        yield found[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()


def forget_package(root: Path) -> None:
    """Undo what `adapter_artifact` did to the import path."""
    sys.path.remove(str(root / "packages"))
    shutil.rmtree(root / "packages")
