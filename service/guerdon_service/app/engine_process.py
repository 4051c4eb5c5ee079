"""``python -m guerdon_service.app.engine_process``: one engine process, started by its service."""

from guerdon_service.app.collector import hold_collector, settle_heap
from guerdon_service.backends.process.serve import Order, serve_stdin
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Backend


def load(order: Order) -> Backend:
    """The back end that `launches.launches` ordered.

    Raises:
        InvalidInput: it cannot be loaded here, or the artifact is another than the service has read.
    """
    hold_collector()
    # torch takes seconds to import: until then signals must find this process deaf to them already.
    from guerdon_service.app.loader import load_backend
    from guerdon_service.app.logs import claim_transformers_logs, configure_logging
    from guerdon_service.artifacts.read import read_artifact
    from guerdon_service.backends.torch_backend import TorchBackend

    configure_logging("WARNING")
    claim_transformers_logs()
    spec = ModelSpec(order["name"], order["source"], order["backend"], order["dtype"], order["device"])
    artifact = read_artifact(spec.source, spec.name)
    digest = artifact.manifest.digest
    if digest != order["digest"]:
        raise InvalidInput(
            f"model {spec.name} changed at its source (digest {digest[:12]}, not {order['digest'][:12]}); "
            "restore it, or register it as a new version",
            param="source",
        )
    backend = load_backend(spec, artifact, order["num_threads"])
    if isinstance(backend, TorchBackend):
        backend.num_parallel = 1  # one batch at a time comes here: each may have all the cores
    settle_heap()
    return backend


if __name__ == "__main__":
    serve_stdin(load)
