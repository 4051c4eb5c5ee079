"""The Open Inference Protocol, version 2, over REST, with its binary extension for inputs.

A model takes ``prompt`` and ``response``, or ``text`` whose markup tells its turns, as BYTES of one shape
[n] or [n, 1], and gives ``reward`` as FP64 of that shape. No activation is applied. Replies are JSON, which
every client reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError, InvalidInput, NotReady
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.markup import of_pair, of_text
from guerdon_service.rest.fields import Fields, read_list, read_string, read_text, read_whole

_LENGTH_BYTES = 4
"""Of the little-endian length before each string of a binary tensor."""
_OUTPUT = "reward"


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    texts: list[str]


async def infer(ask: Ask) -> object:
    """Tensors in, tensors out."""
    fields, binary = _split(ask)
    tensors = {tensor.name: tensor for tensor in _tensors(fields, memoryview(binary))}
    _check_outputs(fields)
    items, shape = _items(tensors)
    result = await ask.score(items, _model(ask))
    output = {
        "name": _OUTPUT,
        "datatype": "FP64",
        "shape": shape,
        "data": [score.reward for score in result.scores],
    }
    reply = {"model_name": result.model.name, "model_version": result.model.version, "outputs": [output]}
    return reply | ({"id": fields["id"]} if "id" in fields else {})


async def metadata(ask: Ask) -> object:
    """The model's tensors."""
    info = ask.scorer.model(_model(ask))
    inputs = [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("prompt", "response")]
    outputs = [{"name": _OUTPUT, "datatype": "FP64", "shape": [-1]}]
    return {
        "name": info.name,
        "versions": [info.version],
        "platform": f"guerdon_{info.backend}",
        "inputs": inputs,
        "outputs": outputs,
    }


async def model_ready(ask: Ask) -> object:
    """Whether the model can answer now."""
    info = ask.scorer.model(_model(ask))
    if info.state != "ready":
        raise NotReady(f"model {info.name} is {info.state}; ask again", retry_after_ms=1000)
    return {"name": info.name, "ready": True}


async def server(ask: Ask) -> object:
    """The server's name, version and extensions."""
    return {"name": "guerdon", "version": version("guerdon"), "extensions": ["binary_tensor_data"]}


async def live(ask: Ask) -> object:
    """Whether the process answers."""
    return {"live": True}


async def ready(ask: Ask) -> object:
    """Whether requests can be answered; the protocol's text calls the field ``live`` in one place."""
    if not ask.scorer.is_ready():
        raise NotReady(ask.scorer.unready_reason(), retry_after_ms=1000)
    return {"ready": True, "live": True}


def error(error: GuerdonError, status: int, message: str) -> object:
    """``{error}``."""
    return {"error": message}


def _model(ask: Ask) -> str:
    name, number = ask.params["name"], ask.params.get("version")
    return f"{name}@{number}" if number else name


def _split(ask: Ask) -> tuple[Fields, bytes]:
    """The JSON of the body, and the tensors' bytes behind it."""
    header = ask.headers.get("inference-header-content-length")
    if header is None:
        return ask.fields(), b""
    if not (header.isdecimal() and int(header) <= len(ask.content)):
        raise InvalidInput(
            f"inference-header-content-length is {header!r} for a body of {len(ask.content)} bytes; give the "
            "length of its JSON",
            param="inference-header-content-length",
        )
    return ask.fields(ask.content[: int(header)]), ask.content[int(header) :]


def _tensors(fields: Fields, binary: memoryview) -> Iterator[_Tensor]:
    inputs = fields.get("inputs")
    for i, entry in enumerate(inputs if isinstance(inputs, list) else []):
        path = f"inputs[{i}]"
        if not isinstance(entry, dict) or entry.get("datatype") != "BYTES":
            raise InvalidInput(f"{path}.datatype is not BYTES; send text", param=f"{path}.datatype")
        parameters = entry.get("parameters")
        given: Fields = parameters if isinstance(parameters, dict) else {}
        size = read_whole(given, "binary_data_size")
        if size is None:
            texts = read_list(entry, "data", read_string, f"{path}.")
        elif 0 <= size <= len(binary):
            texts, binary = _strings(binary[:size], path), binary[size:]
        else:
            raise InvalidInput(f"{path} is {size} bytes and {len(binary)} are left; send all", param=path)
        yield _Tensor(read_text(entry, "name", f"{path}."), _shape(entry, len(texts), path), texts)


def _strings(data: memoryview, path: str) -> list[str]:
    texts = []
    while data:
        size = int.from_bytes(data[:_LENGTH_BYTES], "little")
        text, data = bytes(data[_LENGTH_BYTES:][:size]), data[_LENGTH_BYTES + size :]
        if len(text) < size:
            raise InvalidInput(f"{path} ends within a string; send all of its bytes", param=path)
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            raise InvalidInput(f"{path} is not UTF-8; send text in UTF-8", param=path) from None
    return texts


def _shape(entry: dict[str, Any], count: int, path: str) -> tuple[int, ...]:
    shape = entry.get("shape")
    if shape not in ([count], [count, 1]):
        raise InvalidInput(
            f"{path}.shape is not [{count}], which is how many texts it holds; correct it",
            param=f"{path}.shape",
        )
    return tuple(shape)


def _check_outputs(fields: Fields) -> None:
    outputs = fields.get("outputs")
    for i, output in enumerate(outputs if isinstance(outputs, list) else []):
        if not isinstance(output, dict) or output.get("name") != _OUTPUT:
            raise InvalidInput(
                f"outputs[{i}].name is not known; ask for {_OUTPUT}", param=f"outputs[{i}].name"
            )


def _items(tensors: dict[str, _Tensor]) -> tuple[list[Conversation], tuple[int, ...]]:
    if tensors.keys() == {"text"}:
        text = tensors["text"]
        return [of_text(t, f"text[{i}]") for i, t in enumerate(text.texts)], text.shape
    if tensors.keys() != {"prompt", "response"}:
        raise InvalidInput(
            "inputs are not those of the model; give prompt and response, or text", param="inputs"
        )
    prompt, response = tensors["prompt"], tensors["response"]
    if prompt.shape != response.shape:
        raise InvalidInput("inputs prompt and response differ in shape; pair them", param="inputs")
    pairs = zip(prompt.texts, response.texts, strict=True)
    return [of_pair(p, r, f"response[{i}]") for i, (p, r) in enumerate(pairs)], response.shape


_MODEL = "/v2/models/{name}"
_VERSION = f"{_MODEL}/versions/{{version}}"

OIP = Dialect(
    (
        DialectRoute("GET", "/v2", server, scope=None),
        DialectRoute("GET", "/v2/health/live", live, scope=None, is_open=True),
        DialectRoute("GET", "/v2/health/ready", ready, scope=None, is_open=True),
        *(
            route
            for path in (_MODEL, _VERSION)
            for route in (
                DialectRoute("GET", path, metadata, scope=None),
                DialectRoute("GET", f"{path}/ready", model_ready, scope=None),
                DialectRoute("POST", f"{path}/infer", infer, any_media=True),
            )
        ),
    ),
    error,
)
