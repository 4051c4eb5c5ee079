"""The route that adds a data set for evaluations."""

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Scope
from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput
from guerdon_service.rest.context import ASKED, Context, json_reply
from guerdon_service.rest.fields import Fields, read_id, read_list, read_object
from guerdon_service.rest.render import dump

_KNOWN = frozenset({"name", "records"})


async def add_dataset(at: Context, request: Request) -> Response:
    """Keep records as a file of the data folder, which evaluations then name (admin scope)."""
    name, records = await at.parse(request, Scope.ADMIN, decode_dataset)
    request.scope[ASKED] = {"name": name, "num_records": len(records)}  # the log is no place for the data
    return json_reply(dump(await at.services.evaluator.add_dataset(name, records)), status=201)


def decode_dataset(value: object, call: Call) -> tuple[str, list[Fields]]:
    """``{name, records}``."""
    fields = read_object(value, _KNOWN, "")
    return read_id(fields, "name"), read_list(fields, "records", _record)


def _record(value: object, path: str) -> Fields:
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} is no object; give a preference record", param=path)
    return value
