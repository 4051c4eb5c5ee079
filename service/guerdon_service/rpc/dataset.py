"""Data sets over gRPC: parse, call, render."""

from dataclasses import dataclass
from typing import Any

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import Evaluator
from guerdon_service.core.strict_json import parse_json
from guerdon_service.rpc.decode import parse, required


@dataclass(frozen=True, slots=True)
class DatasetVerbs:
    """The verb, from a message's bytes to the reply; raises only `core.errors`."""

    service: Evaluator

    async def add(self, data: bytes, call: Call) -> pb.Dataset:
        """Keep records as a file of the data folder, which evaluations then name."""
        name, records = decode_dataset(parse(pb.AddDatasetRequest, data), call)
        kept = await self.service.add_dataset(name, records)
        return pb.Dataset(name=kept.name, sha256=kept.sha256, num_items=kept.num_items)


def decode_dataset(message: pb.AddDatasetRequest, call: Call) -> tuple[str, list[dict[str, Any]]]:
    """Its name, and its records, each read as strictly as a body over REST."""
    name = required(message, "name").name
    return name, [_record(text, f"records[{i}]") for i, text in enumerate(message.records)]


def _record(text: str, name: str) -> dict[str, Any]:
    value = parse_json(text.encode(), name)
    if not isinstance(value, dict):
        raise InvalidInput(f"{name} is no object; give a preference record", param=name)
    return value
