"""The servers: Guerdon in each precision, and what a user would pick instead, each as it is best on a CPU."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench_peers import wire
from tests.bench_peers.server import Server

SCRIPTS = Path(__file__).parent / "scripts"
ENCODER, DECODER = "minilm-rm", "smollm2-rm"
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
ENCODER_ROWS = frozenset({"W1", "W2", "W4"})
CACHED_ROWS = frozenset({"W3", "W3-of-16"})
DECODER_ROWS = frozenset({"W1-decoder", "W2-decoder"})
L1, REDIS = "guerdon L1", "guerdon Redis"


def guerdon_servers(redis_url: str) -> list[Server]:
    """Guerdon without a cache for what is computed, and with one for repeats.

    Args:
        redis_url: a running Redis.
    """
    computed = [_guerdon("guerdon", ENCODER, dtype, ENCODER_ROWS) for dtype in DTYPES]
    decoder = _guerdon("guerdon", DECODER, "bf16", DECODER_ROWS)
    cached = [
        _guerdon(L1, ENCODER, "fp32", CACHED_ROWS, {"GUERDON_CACHE_BYTES": str(64 << 20)}),
        _guerdon(REDIS, ENCODER, "fp32", CACHED_ROWS, {"GUERDON_REDIS_URL": redis_url}),
    ]
    return [*computed, *cached, decoder]


def peer_servers() -> list[Server]:
    """All others."""
    encoder = [
        _scripted("naive", ENCODER, "fp32", wire.NAIVE, ENCODER_ROWS, _uvicorn("naive")),
        _scripted("litserve", ENCODER, "fp32", wire.LITSERVE, ENCODER_ROWS, _batching),
        _scripted("openrlhf-like", ENCODER, "fp32", wire.OPENRLHF, ENCODER_ROWS, _uvicorn("get_reward")),
        _infinity("infinity torch", "fp32", ENCODER, "--engine", "torch", "--dtype",
                  "float32", "--no-bettertransformer"),
        _infinity("infinity onnx", "fp32", f"{ENCODER}-onnx", "--engine", "optimum",
                  "--onnx-do-not-prefer-quantized"),
        _infinity("infinity onnx", "int8", f"{ENCODER}-onnx-int8", "--engine", "optimum"),
        _vllm("vllm", ENCODER, ENCODER_ROWS),
    ]  # fmt: skip
    decoder = [
        _scripted("naive", DECODER, "bf16", wire.NAIVE, frozenset({"W1-decoder"}), _uvicorn("naive")),
        _scripted("openrlhf-like", DECODER, "bf16", wire.OPENRLHF, DECODER_ROWS, _uvicorn("get_reward")),
        _vllm("vllm", DECODER, DECODER_ROWS, "--max-model-len", "2048"),
        _vllm("vllm no prefix cache", DECODER, frozenset({"W2-decoder"}), "--max-model-len", "2048",
              "--no-enable-prefix-caching"),
    ]  # fmt: skip
    return encoder + decoder


def _guerdon(
    name: str,
    model: str,
    precision: str,
    rows: frozenset[str],
    extra: Mapping[str, str] | None = None,
) -> Server:
    folder = f"{model}-guerdon" if precision == "int8" else model
    environ = {
        "GUERDON_DTYPE": DTYPES[precision],
        "GUERDON_BACKEND": "torch",
        "GUERDON_LOG_LEVEL": "ERROR",
        "GUERDON_CACHE_BYTES": "0",
        **(extra or {}),
    }

    def command(peers: Path, port: int) -> list[str]:
        model_at = f"{model}={peers / 'models' / folder}"
        ports = ["--port", str(port), "--grpc-port", "0"]
        return [sys.executable, "-m", "guerdon", "serve", *ports, "--model", model_at]

    dialect = wire.GUERDON_CHAT if model == DECODER else wire.GUERDON
    return Server(
        name, model, precision, dialect, rows, command, lambda _: environ, "/health/ready", True, True
    )


def _scripted(
    name: str,
    model: str,
    precision: str,
    dialect: wire.Wire,
    rows: frozenset[str],
    command: Callable[[Path, int], list[str]],
) -> Server:
    def environ(peers: Path) -> dict[str, str]:
        return {"MODEL": str(peers / "models" / model), "DTYPE": DTYPES[precision]}

    return Server(name, model, precision, dialect, rows, command, environ)


def _uvicorn(module: str) -> Callable[[Path, int], list[str]]:
    def command(peers: Path, port: int) -> list[str]:
        options = ["--port", str(port), "--log-level", "warning"]
        return [str(peers / "base/bin/uvicorn"), "--app-dir", str(SCRIPTS), f"{module}:app", *options]

    return command


def _batching(peers: Path, port: int) -> list[str]:
    return [str(peers / "base/bin/python"), str(SCRIPTS / "batching.py"), str(port)]


def _infinity(name: str, precision: str, folder: str, *options: str) -> Server:
    def command(peers: Path, port: int) -> list[str]:
        program, model = str(peers / "inf/bin/infinity_emb"), str(peers / "models" / folder)
        address = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "default/not-specified"]
        return [
            program,
            "v2",
            "--model-id",
            model,
            "--device",
            "cpu",
            *address,
            "--batch-size",
            "32",
            *options,
        ]

    quiet = {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}
    return Server(name, ENCODER, precision, wire.INFINITY, ENCODER_ROWS, command, lambda _: quiet)


def _vllm(name: str, model: str, rows: frozenset[str], *options: str) -> Server:
    """In bf16: its default, fp16, is ten times slower; on all cores, one of which it would leave alone."""

    def command(peers: Path, port: int) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "m"]
        program, folder = str(peers / "vllm/bin/vllm"), str(peers / "models" / model)
        return [program, "serve", folder, "--runner", "pooling", "--dtype", "bfloat16", *address, *options]

    def environ(peers: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(peers / "vllm/lib/libiomp5.so"),
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
            "VLLM_NO_USAGE_STATS": "1",
        }

    has_cache = model == DECODER and "--no-enable-prefix-caching" not in options
    return Server(name, model, "bf16", wire.VLLM, rows, command, environ, has_prefix_cache=has_cache)
