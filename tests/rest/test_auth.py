"""Every route that the app has, found by walking it, needs a key; a new open one fails here."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.responses import Response
from starlette.routing import Route

from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.core.auth import ApiKey, Keyring, Scope
from guerdon_service.core.limits import Limits
from guerdon_service.rest.app import create_app
from guerdon_service.rest.bodies import Bodies
from guerdon_service.rest.dialects.mount import Mounted
from guerdon_service.rest.edge import Edge
from guerdon_service.rest.table import OPEN_PATHS, TABLE
from tests.contract.harness import ADMIN_KEY, KEYS, RIVAL_KEY, SCORER_KEY, Served, served
from tests.domain_fakes import services_of
from tests.fakes import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = {(method, path) for method in ("GET", "HEAD") for path in ("/health/live", "/health/ready")}
SCOPES = {(row.method, row.path): row.scope for row in TABLE}
BODY = {"items": [{"prompt": "p", "response": "r"}]}


async def walk() -> set[tuple[str, str]]:
    async with running_service() as service:
        app = create_app(
            services_of(service), auth=Keyring(KEYS), limits=Limits(), observer=PrometheusObserver()
        )
        routes = [route for route in app.routes if isinstance(route, Route)]
        assert len(routes) == len(app.routes), "a kind of route that this test cannot see"
        return {(method, route.path) for route in routes for method in route.methods or ()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked() -> AsyncIterator[Served]:
    async with served(keys=KEYS) as it:
        yield it


async def ask(served: Served, method: str, path: str, authorization: str | None) -> tuple[int, str]:
    headers = {"content-type": "application/json"}
    if authorization is not None:
        headers["authorization"] = authorization
    url = path.replace("{name}", "nobody").replace("{id}", "nobody")
    response = await served.rest.request(method, url, headers=headers, content=b"{}")
    code = response.json()["error"]["code"] if response.status_code >= 400 and response.content else ""
    return response.status_code, code


async def test_every_route_needs_a_known_key(locked: Served) -> None:
    routes = await walk()
    assert len(routes) >= len(TABLE) > len(OPEN)
    for method, path in routes - OPEN:
        for authorization in (
            None,
            "",
            "Bearer",
            "Bearer wrong",
            f"Basic {SCORER_KEY}",
            f"Bearer  {KEYS[0].sha256}",
        ):
            status, code = await ask(locked, method, path, authorization)
            assert status == 401, (method, path, authorization)
            assert method == "HEAD" or code == "unauthenticated"


async def test_every_route_needs_its_scope(locked: Served) -> None:
    for method, path in await walk() - OPEN:
        scope = SCOPES.get(("GET" if method == "HEAD" else method, path))
        for key, has in ((SCORER_KEY, Scope.SCORE), (ADMIN_KEY, Scope.ADMIN)):
            status, code = await ask(locked, method, path, f"Bearer {key}")
            refused = scope is not None and scope != has
            assert (status == 403) == refused, (method, path, has)
            assert not refused or method == "HEAD" or code == "permission_denied"
            assert status != 401


async def test_besides_health_the_consoles_files_alone_are_open(locked: Served) -> None:
    open_pages = {"/": 308, "/docs": 308, "/console": 308, "/console/": 200, "/console/main.js": 200}
    for path, status in (open_pages | {"/openapi.json": 401, "/console/nothing": 401}).items():
        for method in ("GET", "HEAD"):
            assert (await locked.rest.request(method, path)).status_code == status, (method, path)


async def test_health_is_open(locked: Served) -> None:
    for method, path in OPEN:
        assert (await ask(locked, method, path, None))[0] == 200


@pytest.mark.parametrize("keys", [(), KEYS])
async def test_whoever_asks_what_is_open_to_anyone_may_do_nothing_else(keys: tuple[ApiKey, ...]) -> None:
    callers = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        callers.append(scope["guerdon.caller"])
        await Response()(scope, receive, send)

    dialects = Mounted((), frozenset({"/v2/health/live"}))
    transport = httpx.ASGITransport(Edge(app, Keyring(keys), PrometheusObserver(), dialects, Bodies(1000)))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for path in (*OPEN_PATHS, *dialects.open_paths):
            await client.get(path, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    assert [caller.scopes for caller in callers] == [frozenset()] * (len(OPEN_PATHS) + 1)


async def test_what_is_not_there_needs_a_key_too(locked: Served) -> None:
    assert (await ask(locked, "GET", "/v1/nothing", None))[0] == 401
    assert (await ask(locked, "GET", "/v1/nothing", f"Bearer {SCORER_KEY}"))[0] == 404


async def test_the_refusal_says_how_to_authenticate(locked: Served) -> None:
    response = await locked.rest.post("/v1/score", json=BODY)
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["param"] == "authorization"
    assert "Bearer KEY" in response.json()["error"]["message"]


async def test_without_keys_everything_is_open(running: Served) -> None:
    assert (await running.rest.post("/v1/score", json=BODY)).status_code == 200
    assert (await running.rest.get("/metrics")).status_code == 200


async def test_tenants_do_not_share_cached_scores(locked: Served) -> None:
    body = {"items": [{"prompt": "whose", "response": "is it"}]}
    first, again, other = [
        (await locked.rest.post("/v1/score", json=body, headers={"authorization": f"Bearer {key}"})).json()
        for key in (SCORER_KEY, SCORER_KEY, RIVAL_KEY)
    ]
    assert [reply["scores"][0]["cached"] for reply in (first, again, other)] == [False, True, False]
