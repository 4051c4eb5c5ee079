"""Versions as REST shows them."""

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.artifact import ModelSpec
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, served
from tests.registry.versions import load_versions


async def test_each_version_is_shown_with_its_own_manifest_and_scored_under_its_own_name() -> None:
    async with served(ModelSpec("m", "1"), load=load_versions) as running:
        await running.service.catalog.load_version(ModelSpec("m", "2"), "2", "digest-2")
        listed = (await running.rest.get("/v1/models")).json()["models"]
        assert [(i["name"], i["version"], i["aliases"]) for i in listed] == [
            ("m", "1", ["champion"]),
            ("m", "2", []),
        ]
        for reference, version in (("m", "1"), ("m@champion", "1"), ("m@2", "2")):
            shown = (await running.rest.get(f"/v1/models/{reference}")).json()
            assert shown["version"] == shown["manifest"]["version"] == version
            body = {"model": reference, "items": [{"prompt": "why?", "response": "so"}]}
            scored = (await running.rest.post("/v1/score", json=body)).json()
            assert (scored["model"]["name"], scored["model"]["version"]) == ("m", version)
        assert (await running.rest.delete("/v1/models/m@1")).status_code == 422
        series = b'guerdon_model_ready{model="m@2"}'
        assert series in running.observer.render()
        assert (await running.rest.delete("/v1/models/m@2")).status_code == 204
        assert series not in running.observer.render(), "what was let go on purpose raises no alarm"
        assert (await running.rest.get("/v1/models/m@2")).status_code == 404


async def test_where_artifacts_lie_is_told_to_an_admin_alone() -> None:
    async with served(keys=KEYS) as it:
        await it.services.registrar.register("m", "/srv/models/m-1", "ops")
        for key, expected in ((ADMIN_KEY, "/srv/models/m-1"), (SCORER_KEY, "")):
            held = {"authorization": f"Bearer {key}"}
            shown = (await it.rest.get("/v1/models/m/versions", headers=held)).json()
            called = await it.stub.GetModelHistory(
                pb.GetModelHistoryRequest(name="m"), metadata=tuple(held.items())
            )
            assert shown["versions"][0]["source"] == called.versions[0].source == expected
            assert shown["versions"][0]["version"] == called.versions[0].version == "1"
