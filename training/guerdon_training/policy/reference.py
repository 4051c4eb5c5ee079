"""The policy before training: its log-probabilities, computed once and kept."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import peft
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from guerdon_service.core.errors import InvalidInput
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy
from guerdon_training.policy.pairs import ExamplePair


@contextmanager
def as_reference(policy: nn.Module, folder: Path) -> Iterator[nn.Module]:
    """The policy before training: its adapters switched off, or, where it has none, the base once more.

    Args:
        folder: what the policy was loaded from.
    """
    if isinstance(policy, peft.PeftModel):
        with policy.disable_adapter():
            yield policy
    else:
        yield load_policy(folder, PolicyLora(), 0).to(next(policy.parameters()).device)


def reference_digest(weights_sha256: str, splits: Mapping[str, Sequence[ExamplePair]]) -> str:
    """SHA-256 (hex) of the reference's weights and of every token whose log-probability is asked for."""
    state = hashlib.sha256(weights_sha256.encode())
    for name, pairs in sorted(splits.items()):
        state.update(f"\n{name}".encode())
        for pair in pairs:
            state.update(repr((pair.chosen, pair.rejected)).encode())
    return state.hexdigest()


def stored_reference(path: Path, digest: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What `compute` gives, by split; from the file at `path` where it has been computed before.

    Raises:
        InvalidInput: the file is of another reference or of other data.
    """
    if not path.is_file():
        found = {name: tensor.cpu().contiguous() for name, tensor in compute().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}")
        save_file(found, part, metadata={"digest": digest})
        part.replace(path)
        return found
    with safe_open(str(path), framework="pt") as file:
        if (file.metadata() or {}).get("digest") != digest:
            raise InvalidInput(
                f"{path} holds log-probabilities of another reference or of other data; remove it, or give "
                "another output",
                param="output",
            )
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
