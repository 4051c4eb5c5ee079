"""Which routes there are, and who may ask."""

from typing import get_args

import pytest

from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import DialectName
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.rest.context import Context
from guerdon_service.rest.dialects.mount import DIALECTS, mount
from guerdon_service.rest.table import TABLE
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, served
from tests.dialects.conftest import ALL
from tests.domain_fakes import services_of
from tests.fakes import running_service


def test_settings_name_every_dialect() -> None:
    assert set(get_args(DialectName)) == set(DIALECTS)


def test_named_by_flag_and_variable() -> None:
    flags, _ = parse_flags(["--dialect", "vllm", "--dialect", "tei"])
    assert load_settings(flags, {}, None).dialects == ("vllm", "tei")
    assert load_settings({}, {"GUERDON_DIALECTS": '["oip"]'}, None).dialects == ("oip",)
    assert load_settings({}, {}, None).dialects == ()
    with pytest.raises(InvalidInput, match="--dialect cannot be used"):
        load_settings({"dialects": ["absent"]}, {}, None)


async def test_off_by_default() -> None:
    own = {row.path for row in TABLE}
    async with served() as it:
        for name, dialect in DIALECTS.items():
            for route in dialect.routes:
                paths = {f"/{name}{route.path}", route.path} - own
                for path in paths:
                    reply = await it.rest.request(route.method, path.format(name="fake", version="1"))
                    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found"), path


async def test_own_routes_win_and_the_first_dialect_next() -> None:
    async with running_service() as service:
        context = Context(services_of(service), Limits(), PrometheusObserver())
        mounted = mount(ALL, context, taken={row.path for row in TABLE})
    places = [(method, route.path) for route in mounted.routes for method in route.methods or ()]
    assert len(places) == len(set(places))
    assert not {path for _, path in places} & {row.path for row in TABLE}
    for name, dialect in DIALECTS.items():
        assert {f"/{name}{route.path}" for route in dialect.routes} <= {path for _, path in places}


@pytest.mark.parametrize(("key", "status"), [(None, 401), (ADMIN_KEY, 403), (SCORER_KEY, 200)])
async def test_keys(key: str | None, status: int) -> None:
    """Errors of the edge, too, are in the dialect's shape."""
    async with served(keys=KEYS, dialects=ALL) as it:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        reply = await it.rest.post("/get_reward", json={"query": []}, headers=headers)
        assert reply.status_code == status
        assert set(reply.json()) == ({"detail"} if status != 200 else {"rewards", "scores", "extra_logs"})
        assert ("www-authenticate" in reply.headers) == (status == 401)
        text = (await it.rest.get("/metrics", headers={"authorization": f"Bearer {SCORER_KEY}"})).text
    code = {401: "unauthenticated", 403: "permission_denied", 200: "ok"}[status]
    assert f'code="{code}"' in text


async def test_limits_hold() -> None:
    async with served(limits=Limits(max_body_bytes=200), dialects=ALL) as it:
        reply = await it.rest.post("/get_reward", json={"query": ["x" * 300]})
        assert (reply.status_code, set(reply.json())) == (413, {"detail"})
        reply = await it.rest.post("/get_reward", content="query=x")
        assert (reply.status_code, set(reply.json())) == (422, {"detail"})
        nested = await it.rest.post("/get_reward", json={"query": [[[[]]] * 3]})
        assert nested.status_code == 422
