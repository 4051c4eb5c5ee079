"""The flags of ``guerdon serve``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput


def parse_flags(argv: Sequence[str]) -> tuple[dict[str, Any], Path | None]:
    """Nested settings of the flags that were given, and the ``--config`` file.

    Raises:
        InvalidInput: ``--model``, ``--policy`` or ``--judge`` without ``NAME=``.
        SystemExit: an unknown flag, or ``--help``.
    """
    given = {key: value for key, value in vars(_parser().parse_args(argv)).items() if value is not None}
    config: Path | None = given.pop("config", None)
    if "models" in given:
        given["models"] = dict(_model(text) for text in given["models"])
    if "policies" in given:
        given["policies"] = dict(_policy(text) for text in given["policies"])
    if "judges" in given:
        given["judges"] = dict(_judge(text) for text in given["judges"])
    return given, config


def _model(text: str) -> tuple[str, dict[str, str]]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise InvalidInput(f"--model is {text!r}; write --model NAME=PATH", param="--model")
    return name, {"source": source}


def _policy(text: str) -> tuple[str, dict[str, str]]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise InvalidInput(f"--policy is {text!r}; write --policy NAME=PATH or NAME=URL", param="--policy")
    return name, {"url" if place.startswith(("http://", "https://")) else "source": place}


def _judge(text: str) -> tuple[str, dict[str, str]]:
    name, equals, url = text.partition("=")
    if not (name and equals and url):
        raise InvalidInput(f"--judge is {text!r}; write --judge NAME=URL", param="--judge")
    return name, {"url": url}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guerdon serve",
        description="Serve reward models over REST and gRPC.",
        epilog="Every setting can also stand in the --config file or in a GUERDON_* variable "
        "(GUERDON_LIMITS__MAX_ITEMS=100 is max_items of the table limits). Flags win over variables, "
        "variables over the file.",
        allow_abbrev=False,
        argument_default=None,
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="a TOML file of settings")
    add("--model", dest="models", action="append", metavar="NAME=PATH", help="a model to serve; repeatable")
    add(
        "--policy",
        dest="policies",
        action="append",
        metavar="NAME=PATH",
        help="a policy that best-of-n samples from: folder, package or OpenAI-compatible URL; repeatable",
    )
    add(
        "--judge",
        dest="judges",
        action="append",
        metavar="NAME=URL",
        help="a judge that evaluations of policies may ask: OpenAI-compatible URL; repeatable",
    )
    add("--default-model", metavar="NAME", help="answers requests that name no model (the first one)")
    add("--backend", help="torch or onnxruntime (torch)")
    add("--dtype", help="float32, bfloat16, float16 or int8 (float32)")
    add("--device", help="cpu or cuda (cpu)")
    devices = "an engine process of each model on this device (cpu, cuda:0), instead of --device; repeatable"
    add("--devices", action="append", metavar="DEVICE", help=devices)
    add("--threads", metavar="N", help="threads of one forward (the back end's choice)")
    add("--host", help="address to listen on (127.0.0.1)")
    add("--port", metavar="N", help="REST port, 0 for any free one (8080)")
    add("--grpc-port", metavar="N", help="gRPC port, 0 for any free one (8081)")
    add("--admin-port", metavar="N", help="REST port of the administrators' routes (the main one)")
    add("--admin-grpc-port", metavar="N", help="gRPC port of the administrators' methods (the main one)")
    add("--admin-host", metavar="H", help="address that the administrators' ports listen on (--host)")
    add("--tls-certificate", metavar="FILE", help="PEM chain that both transports present (plain text)")
    add("--tls-key", metavar="FILE", help="its private key")
    add("--tls-client-ca", metavar="FILE", help="callers must present a certificate of these (none)")
    add(
        "--dialect",
        dest="dialects",
        action="append",
        metavar="NAME",
        help="another server's wire shape to answer in as well, see docs/dialects.md; repeatable",
    )
    add("--redis-url", metavar="URL", help="a Redis that replicas share as their cache (none)")
    add("--state-url", metavar="URL", help="database of registry, evaluations and feedback (in memory)")
    add("--log-candidates", metavar="BOOL", help="keep best-of-n's prompts and responses in it (false)")
    add("--candidates-kept-days", metavar="N", help="days after which they are removed (never)")
    add("--data-folder", metavar="DIR", help="where evaluations find their data sets (data)")
    add("--model-store", metavar="DIR", help="where registered models must lie, and URLs are kept (anywhere)")
    add("--api-key-file", metavar="FILE", help="a line 'NAME SHA256 SCOPE[,SCOPE]' per API key (open)")
    add("--drain-timeout-s", metavar="S", help="wait for requests under way when stopping (30)")
    add("--slow-request-s", metavar="S", help="log requests that take at least as long (none)")
    add("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR (INFO)")
    add("--log-json", metavar="BOOL", help="one JSON object a log line (true)")
    return parser
