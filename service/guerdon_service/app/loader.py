"""From a `ModelSpec` to a model that has proved its scores."""

import functools
import logging
import time
from collections.abc import Callable

from guerdon_service.app.launches import launches
from guerdon_service.artifacts.golden import read_golden
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.artifacts.resolve import DEFAULT_MODEL, DEFAULT_NAME
from guerdon_service.backends.process.pool import EnginePool
from guerdon_service.core.artifact import Artifact, LoadedModel, ModelSpec, check_backend
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Backend
from guerdon_service.scoring.certificate import certify
from guerdon_service.tokenization.encoder import load_encoder

log = logging.getLogger(__name__)


def default_spec(backend: str, dtype: str, device: str, devices: tuple[str, ...] = ()) -> ModelSpec:
    """The embedded default model."""
    return ModelSpec(DEFAULT_NAME, str(DEFAULT_MODEL), backend, dtype, device, devices=devices)


def load_model(spec: ModelSpec, num_threads: int | None = None) -> LoadedModel:
    """Read, check, load and certify one model. Blocks; run it in a thread.

    Args:
        num_threads: of one forward; None leaves the choice to the back end.

    Raises:
        InvalidInput: the artifact is refused; the message says which check failed.
    """
    started = time.monotonic()
    artifact = read_artifact(spec.source, spec.name)
    if artifact.manifest.kind != "reward":
        raise InvalidInput(
            f"model {spec.name} is a {artifact.manifest.kind}; give a reward model", param="source"
        )
    if artifact.manifest.inferred:
        log.warning("manifest inferred", extra={"model": spec.name, "inferred": artifact.manifest.inferred})
    encoder = load_encoder(artifact)
    backend = load_backend(spec, artifact, num_threads)
    try:
        golden = read_golden(artifact)
        if artifact.manifest.implicit is not None and not golden:
            raise InvalidInput(
                f"model {spec.name} is an implicit reward without golden.jsonl, which alone can certify it; "
                "write it with guerdon train implicit",
                param="source",
            )
        certificate = certify(artifact, encoder, backend, golden)
        if not certificate.passed:
            raise InvalidInput(
                f"model {spec.name} fails its score certificate: {certificate.failure}", param="source"
            )
    except BaseException:
        backend.close()
        raise
    seconds = round(time.monotonic() - started, 3)
    log.info("model ready", extra={"model": spec.name, "digest": artifact.manifest.digest, "load_s": seconds})
    return LoadedModel(spec, artifact.manifest, encoder, backend, certificate)


def load_backend(spec: ModelSpec, artifact: Artifact, num_threads: int | None = None) -> Backend:
    """The back end that `spec.backend` names, in a process for each of `spec.devices` if there are any.

    Raises:
        InvalidInput: no such back end, or it cannot serve this artifact, dtype or device.
    """
    check_backend(spec.backend)
    if spec.devices:
        return EnginePool(launches(spec, artifact.manifest.digest, num_threads))
    if artifact.manifest.implicit is not None:
        if spec.backend != "torch":
            raise InvalidInput(
                f"model {spec.name} is an implicit reward, which {spec.backend} cannot serve; use torch",
                param="backend",
            )
        return _implicit(artifact, spec.dtype, spec.device, num_threads)
    return _BACKENDS[spec.backend](artifact, spec.dtype, spec.device, num_threads)


@functools.cache
def _process_threads() -> int:
    """Threads that torch chose for this process; a forward changes what threads that start later find."""
    import torch

    return torch.get_num_threads()


def _torch(artifact: Artifact, dtype: str, device: str, num_threads: int | None) -> Backend:
    import torch

    from guerdon_service.backends.freed_memory import keep_freed_memory
    from guerdon_service.backends.primitive_caches import bound_primitive_caches
    from guerdon_service.backends.torch_backend import TorchBackend

    if device == "cpu":
        _tell_of_fp32(dtype)
        keep_freed_memory()
        bound_primitive_caches()
    torch.set_num_threads(num_threads or _process_threads())
    return TorchBackend.load(artifact, dtype=dtype, device=device)


def _implicit(artifact: Artifact, dtype: str, device: str, num_threads: int | None) -> Backend:
    import torch

    from guerdon_service.backends.implicit import ImplicitBackend
    from guerdon_service.backends.primitive_caches import bound_primitive_caches
    from guerdon_service.policies.gguf import dequantised

    if device == "cpu":
        _tell_of_fp32(dtype)
        bound_primitive_caches()
    torch.set_num_threads(num_threads or _process_threads())
    carried = next(artifact.base_folder.glob("*.gguf"), None)
    reference = dequantised(carried) if carried is not None else artifact.base_folder
    return ImplicitBackend.load(artifact, reference, dtype=dtype, device=device)


def _tell_of_fp32(dtype: str) -> None:
    from guerdon_service.backends.native_bf16 import has_native_bf16

    if dtype == "float16" or (dtype == "bfloat16" and not has_native_bf16()):
        log.warning("dtype %s is computed in float32 on this CPU: it takes as long and as much memory", dtype)


def _onnxruntime(artifact: Artifact, dtype: str, device: str, num_threads: int | None) -> Backend:
    from guerdon_service.backends.onnx_backend import OnnxBackend

    return OnnxBackend.load(artifact, dtype=dtype, device=device, num_threads=num_threads)


_BACKENDS: dict[str, Callable[[Artifact, str, str, int | None], Backend]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
}
