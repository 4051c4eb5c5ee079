"""Tensors of the Open Inference Protocol, version 2, to conversations; the same over REST and gRPC.

A model takes ``prompt`` and ``response``, or ``text`` whose markup tells its turns, as BYTES of one shape
[n] or [n, 1], and gives ``reward`` as FP64 of that shape. No activation is applied.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits, check_count
from guerdon_service.dialects.markup import of_pair, of_text

INPUTS = ("prompt", "response")
OUTPUT = "reward"
INPUT_TYPE, OUTPUT_TYPE = "BYTES", "FP64"
_LENGTH_BYTES = 4
"""Of the little-endian length before each string of a binary tensor."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input: texts of shape [n] or [n, 1]."""

    name: str
    shape: tuple[int, ...]
    texts: tuple[str, ...]


def as_tensor(name: str, shape: Sequence[object], texts: Sequence[str], path: str) -> Tensor:
    """A tensor whose shape is that of its texts; `path` is its own in errors.

    Raises:
        InvalidInput: it is not.
    """
    count = len(texts)
    if list(shape) not in ([count], [count, 1]):
        raise InvalidInput(
            f"{path}.shape is not [{count}], which is how many texts it holds; correct it",
            param=f"{path}.shape",
        )
    return Tensor(name, (count, 1)[: len(shape)], tuple(texts))


def split_strings(data: memoryview, path: str, limits: Limits) -> list[str]:
    """The strings of a binary tensor: each follows its length in bytes.

    Raises:
        InvalidInput: there are too many, the last one is cut short, or one is not UTF-8.
    """
    texts: list[str] = []
    while data:
        check_count(path, len(texts) + 1, limits)
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        if len(data) < end:
            raise InvalidInput(f"{path} ends within a string; send all of its bytes", param=path)
        texts.append(as_text(bytes(data[_LENGTH_BYTES:end]), path))
        data = data[end:]
    return texts


def as_text(data: bytes, path: str) -> str:
    """`data` as UTF-8.

    Raises:
        InvalidInput: it is not.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8; send text in UTF-8", param=path) from None


def check_inputs(count: int) -> None:
    """Refuse more inputs than the model has, before any is read."""
    if count > len(INPUTS):
        raise _not_the_models()


def check_type(datatype: object, path: str) -> None:
    """Refuse an input that holds no text."""
    if datatype != INPUT_TYPE:
        raise InvalidInput(f"{path}.datatype is not {INPUT_TYPE}; send text", param=f"{path}.datatype")


def check_outputs(names: Iterable[object]) -> None:
    """Refuse outputs that the model does not give."""
    for i, name in enumerate(names):
        if name != OUTPUT:
            raise InvalidInput(
                f"outputs[{i}].name is not known; ask for {OUTPUT}", param=f"outputs[{i}].name"
            )


def to_conversations(inputs: Iterable[Tensor]) -> tuple[list[Conversation], tuple[int, ...]]:
    """What the inputs ask to score, and the shape of the answer.

    Raises:
        InvalidInput: these are not the model's inputs, or they differ in shape.
    """
    tensors = {tensor.name: tensor for tensor in inputs}
    if tensors.keys() == {"text"}:
        text = tensors["text"]
        return [of_text(t, f"text[{i}]") for i, t in enumerate(text.texts)], text.shape
    if tensors.keys() != set(INPUTS):
        raise _not_the_models()
    prompt, response = tensors["prompt"], tensors["response"]
    if prompt.shape != response.shape:
        raise InvalidInput("inputs prompt and response differ in shape; pair them", param="inputs")
    pairs = zip(prompt.texts, response.texts, strict=True)
    return [of_pair(p, r, f"response[{i}]") for i, (p, r) in enumerate(pairs)], response.shape


def _not_the_models() -> InvalidInput:
    return InvalidInput(
        "inputs are not those of the model; give prompt and response, or text", param="inputs"
    )


def versioned(name: str, version: str | None) -> str:
    """A model's name as the domain layer takes it."""
    return f"{name}@{version}" if version else name
