"""The routes of the registry: register, look, promote, roll back, remove an alias."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Scope
from guerdon_service.core.registry import shown
from guerdon_service.rest.context import Context, allow, json_reply
from guerdon_service.rest.registry_wire import (
    decode_promote,
    decode_register,
    decode_removal,
    decode_rollback,
    render_change,
    render_history,
    render_models,
    render_version,
)


async def register_model(at: Context, request: Request) -> Response:
    """Store an artifact as a version of a name, and load it (admin scope)."""
    source, by = await at.parse(request, Scope.ADMIN, decode_register)
    version = await at.services.registrar.register(request.path_params["name"], source, by)
    return json_reply(render_version(version), status=201)


async def list_registered_models(at: Context, request: Request) -> Response:
    """Every registered name, loaded or not, with its aliases."""
    return json_reply(render_models(await at.services.registrar.models()))


async def get_history(at: Context, request: Request) -> Response:
    """Versions, aliases and changes of one name, oldest first; sources for an admin."""
    history = await at.services.registrar.history(request.path_params["name"])
    return json_reply(render_history(shown(history, is_admin=allow(request, None).is_admin)))


async def get_card(at: Context, request: Request) -> Response:
    """The model card of one version."""
    card = await at.services.registrar.card(request.path_params["name"], request.path_params["version"])
    return Response(card, media_type="text/markdown")


async def promote_model(at: Context, request: Request) -> Response:
    """Point an alias at a version, if the gate allows it (admin scope)."""
    decode = partial(decode_promote, name=request.path_params["name"])
    query = await at.parse(request, Scope.ADMIN, decode)
    return json_reply(render_change(await at.services.registrar.promote(query)))


async def rollback_model(at: Context, request: Request) -> Response:
    """Point an alias back at the version before (admin scope)."""
    asked = await at.parse(request, Scope.ADMIN, decode_rollback)
    change = await at.services.registrar.rollback(
        request.path_params["name"], asked.alias, asked.by, asked.reason
    )
    return json_reply(render_change(change))


async def remove_alias(at: Context, request: Request) -> Response:
    """Take an alias away, but never the champion (admin scope)."""
    asked = await at.parse(request, Scope.ADMIN, decode_removal)
    change = await at.services.registrar.remove_alias(
        request.path_params["name"], asked.alias, asked.by, asked.reason
    )
    return json_reply(render_change(change))
