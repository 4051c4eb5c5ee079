"""Reward artifacts of every kind, and the real service over real sockets that holds them."""

import asyncio
import shutil
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.manifest import Head, Manifest, Norm, PackageBase, Profile, from_json, to_json
from guerdon_service.scoring.catalog import Catalog
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
class Running:
    """A service in another thread: where it listens, and its versions."""

    rest: str
    grpc: str
    catalog: Catalog
    loop: asyncio.AbstractEventLoop

    def load(self, folder: Path) -> None:
        """One more version of the name in its manifest."""
        spec = ModelSpec(_manifest(folder).name, str(folder))
        manifest = load_model(spec).manifest
        self._run(self.catalog.load_version(spec, manifest.version, manifest.digest))

    def point(self, reference: str, version: str) -> None:
        """Have ``NAME@ALIAS`` mean another version, as a promotion does."""
        name, alias = reference.split("@")

        async def point() -> None:
            self.catalog.point({(name, alias): version})

        self._run(point())

    def unload(self, reference: str) -> None:
        """Let a version go, as one that no alias needs."""
        self._run(self.catalog.unload(reference))

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result()


def _manifest(folder: Path) -> Manifest:
    return from_json((folder / MANIFEST).read_text("utf-8"))


@contextmanager
def running(specs: Sequence[ModelSpec]) -> Iterator[Running]:
    """The service in a thread of its own, for as long as the block runs."""
    started, stop = threading.Event(), asyncio.Event()
    found: list[Running] = []

    async def serve() -> None:
        async with served(*specs, load=load_model) as at:
            rest, grpc = f"http://127.0.0.1:{at.port}", f"grpc://127.0.0.1:{at.grpc_port}"
            found.append(Running(rest, grpc, at.service.catalog, asyncio.get_running_loop()))
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
        found[0].loop.call_soon_threadsafe(stop.set)
        thread.join()


def forget_package(root: Path) -> None:
    """Undo what `adapter_artifact` did to the import path."""
    sys.path.remove(str(root / "packages"))
    shutil.rmtree(root / "packages")
