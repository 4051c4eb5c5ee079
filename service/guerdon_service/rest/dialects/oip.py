"""The Open Inference Protocol, version 2, over REST, with its binary extension for inputs.

Replies are JSON, which every client reads.
"""

from collections.abc import Iterator
from importlib.metadata import version

from guerdon_service.core.errors import GuerdonError, InvalidInput, NotReady
from guerdon_service.core.limits import Limits
from guerdon_service.dialects import tensors
from guerdon_service.dialects.tensors import Tensor
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.fields import Fields, read_list, read_string, read_text, read_whole


async def infer(ask: Ask) -> object:
    """Tensors in, tensors out."""
    fields, binary = _split(ask)
    inputs = list(_tensors(fields, memoryview(binary), ask.asked.limits))
    tensors.check_outputs(_output_names(fields))
    items, shape = tensors.to_conversations(inputs)
    result = await ask.score(items, _model(ask))
    output = {
        "name": tensors.OUTPUT,
        "datatype": tensors.OUTPUT_TYPE,
        "shape": shape,
        "data": [score.reward for score in result.scores],
    }
    reply = {"model_name": result.model.name, "model_version": result.model.version, "outputs": [output]}
    return reply | ({"id": fields["id"]} if "id" in fields else {})


async def metadata(ask: Ask) -> object:
    """The model's tensors."""
    info = ask.asked.scorer.model(_model(ask))
    inputs = [{"name": n, "datatype": tensors.INPUT_TYPE, "shape": [-1]} for n in tensors.INPUTS]
    outputs = [{"name": tensors.OUTPUT, "datatype": tensors.OUTPUT_TYPE, "shape": [-1]}]
    return {
        "name": info.name,
        "versions": [info.version],
        "platform": f"guerdon_{info.backend}",
        "inputs": inputs,
        "outputs": outputs,
    }


async def model_ready(ask: Ask) -> object:
    """Whether the model can answer now."""
    info = ask.asked.scorer.model(_model(ask))
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
    if not ask.asked.scorer.is_ready():
        raise NotReady(ask.asked.scorer.unready_reason(), retry_after_ms=1000)
    return {"ready": True, "live": True}


def error(error: GuerdonError, status: int, message: str) -> object:
    """``{error}``."""
    return {"error": message}


def _model(ask: Ask) -> str:
    return tensors.versioned(ask.params["name"], ask.params.get("version"))


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


def _tensors(fields: Fields, binary: memoryview, limits: Limits) -> Iterator[Tensor]:
    given = fields.get("inputs")
    inputs = given if isinstance(given, list) else []
    tensors.check_inputs(len(inputs))
    for i, entry in enumerate(inputs):
        path = f"inputs[{i}]"
        if not isinstance(entry, dict):
            raise InvalidInput(f"{path} is no object; send a tensor", param=path)
        tensors.check_type(entry.get("datatype"), path)
        parameters, shape = entry.get("parameters"), entry.get("shape")
        size = read_whole(parameters if isinstance(parameters, dict) else {}, "binary_data_size")
        if size is None:
            texts = read_list(entry, "data", read_string, f"{path}.", limits)
        elif 0 <= size <= len(binary):
            texts, binary = tensors.split_strings(binary[:size], path, limits), binary[size:]
        else:
            raise InvalidInput(f"{path} is {size} bytes and {len(binary)} are left; send all", param=path)
        name = read_text(entry, "name", f"{path}.")
        yield tensors.as_tensor(name, shape if isinstance(shape, list) else [], texts, path)


def _output_names(fields: Fields) -> list[object]:
    outputs = fields.get("outputs")
    names = outputs if isinstance(outputs, list) else []
    return [output.get("name") if isinstance(output, dict) else None for output in names]


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
