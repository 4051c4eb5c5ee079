"""Real artifacts from folders and URLs."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from guerdon_service.app.loader import load_model
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GateRefused, GuerdonError, InvalidInput, UnknownModel
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.registry import ModelVersion, PromoteQuery
from guerdon_service.registry.loader import Loader, MissingArtifact
from guerdon_service.registry.model_store import FETCHED, MAX_CARD_BYTES, ModelStore
from guerdon_service.registry.registry import Registry
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.artifacts.sealing import reward_manifest, seal
from tests.artifacts.test_base import save_adapter
from tests.registry.replica import TEMPLATE, empty_service
from tests.tiny import tiny

URL = "memory://bucket/models/tiny-2"


def artifact(folder: Path, version: str, seed: int) -> Path:
    """A sealed artifact of a tiny encoder."""
    shutil.copytree(tiny("bert", seed=seed), folder)
    seal(folder, replace(reward_manifest(), version=version))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model store with ``tiny-1``."""
    folder = tmp_path / "store"
    folder.mkdir()
    artifact(folder / "tiny-1", "1", 0)
    return folder


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Path]:
    """``tiny-2`` behind `URL`; the folder it was copied from."""
    local = artifact(tmp_path / "tiny-2", "2", 1)
    files = fsspec.filesystem("memory")
    for path in local.rglob("*"):
        if path.is_file():
            files.pipe_file(f"{URL}/{path.relative_to(local).as_posix()}", path.read_bytes())
    yield local
    files.rm("/bucket", recursive=True)


def test_a_url_is_fetched_once_and_kept_by_digest(root: Path, bucket: Path) -> None:
    store = ModelStore(root)
    digest = read_artifact(str(bucket)).manifest.digest
    assert store.admit(URL) == URL
    local = Path(store.local(URL))
    assert local == root / FETCHED / digest
    assert {p.name: p.read_bytes() for p in local.iterdir()} == {
        p.name: p.read_bytes() for p in bucket.iterdir()
    }
    assert store.local(URL) == str(local) and [p.name for p in local.parent.iterdir()] == [digest]
    fsspec.filesystem("memory").rm("/bucket/models/tiny-2/model.safetensors")
    assert store.local(URL, digest) == str(local), "the registered digest is here: the bucket is not asked"


def test_a_store_that_cannot_be_written_to_is_told_with_its_remedy(root: Path, bucket: Path) -> None:
    (root / FETCHED).write_text("no folder")
    with pytest.raises(GuerdonError, match=r"model store cannot be written to \(.*\).* set model_store"):
        ModelStore(root).local(URL)


def test_a_url_that_changed_in_transit_is_refused_and_nothing_is_kept(root: Path, bucket: Path) -> None:
    fsspec.filesystem("memory").pipe_file(f"{URL}/config.json", b"{}")
    with pytest.raises(InvalidInput, match="changed after its manifest") as refused:
        ModelStore(root).local(URL)
    assert list((root / FETCHED).iterdir()) == []
    assert not isinstance(refused.value, MissingArtifact), "waiting would not help"


def replace_by(folder: Path) -> None:
    """What `URL` gives from now on."""
    files = fsspec.filesystem("memory")
    files.rm(URL, recursive=True)
    for path in folder.iterdir():
        files.pipe_file(f"{URL}/{path.name}", path.read_bytes())


def test_a_download_that_is_not_what_was_registered_may_be_it_later(root: Path, bucket: Path) -> None:
    store, files = ModelStore(root), fsspec.filesystem("memory")
    digest = read_artifact(str(bucket)).manifest.digest
    files.pipe_file(f"{URL}/config.json", b"{}")
    with pytest.raises(MissingArtifact, match="changed after its manifest"):
        store.local(URL, digest)
    replace_by(root / "tiny-1")
    files.rm(f"{URL}/manifest.json")
    with pytest.raises(MissingArtifact, match=f"registered is {digest[:12]}; it was damaged on the way"):
        store.local(URL, digest)
    assert list((root / FETCHED).iterdir()) == []
    replace_by(bucket)
    assert store.local(URL, digest) == str(root / FETCHED / digest)


async def test_a_url_that_surely_gives_another_artifact_is_refused_for_good(root: Path, bucket: Path) -> None:
    digest = read_artifact(str(bucket)).manifest.digest
    replace_by(root / "tiny-1")
    version = ModelVersion("m", "2", digest, "reward", URL, "ops", 0.0, {})
    async with empty_service() as service:
        with pytest.raises(InvalidInput, match=f"registered is {digest[:12]}; it was replaced") as refused:
            await Loader(service.catalog, ModelStore(root), TEMPLATE).ensure(version)
        assert not isinstance(refused.value, MissingArtifact), "waiting would not help"
        assert [(info.version, info.state) for info in service.models()] == [("2", "failed")]
    assert list((root / FETCHED).iterdir()) == []


async def test_an_adapter_whose_base_is_not_on_this_replica_may_be_whole_later(
    root: Path, database: Database
) -> None:
    base = shutil.copytree(tiny("bert"), root / "base")
    adapter = save_adapter(root / "lora", base)
    stores, observer = (SqlRegistryStore(database), SqlEvaluationStore(database)), NullObserver()
    catalogs = [
        Catalog(load_model, Limits(), open_cache(observer), ThreadPoolExecutor(2), observer) for _ in range(2)
    ]
    here, there = (Registry(*stores, made, ModelStore(root), ModelSpec("", "")) for made in catalogs)
    try:
        version = (await there.register("m", "lora", "ops")).version
        base.rename(root / "elsewhere")
        with pytest.raises(UnknownModel, match="is not where it was, or not whole on this replica yet"):
            async with here.keep_loaded("m", version):
                pass
        assert ModelStore(root).local(str(adapter)) == str(adapter), "who reads what is new refuses it"
        (root / "elsewhere").rename(base)
        async with here.keep_loaded("m", version):
            assert catalogs[0].is_loaded("m", version)
        await here.idle()
    finally:
        for catalog in catalogs:
            await catalog.close()


def test_what_is_not_here_is_told_from_what_is_refused(root: Path, bucket: Path) -> None:
    for source in (str(root / "none"), "memory://bucket/none", "nowhere://bucket/x"):
        with pytest.raises(MissingArtifact) as missed:
            ModelStore(root).local(source)
        assert missed.value.param == "source"
    (root / "tiny-1" / "model.safetensors").write_bytes(b"damaged")
    assert ModelStore(root).local(str(root / "tiny-1")) == str(root / "tiny-1"), "who reads it refuses it"


@pytest.mark.parametrize(
    "source",
    [
        "memory://bucket/none",
        "nowhere://bucket/x",
        "file:///etc",
        "local:///etc",
        "simplecache::file:///etc",
        "simplecache://::file:///etc",
        "memory://bucket/models/tiny-2::file:///etc",
        "zip://m::file:///a.zip",
        "tiny-1\0",
        "memory://bucket/\0",
        "memory://user:secret@bucket/models/tiny-2",
        "memory://user:sec/secret@bucket/models/tiny-2",
        "../outside",
        "/etc",
        "tiny-1/../../outside",
        "link",
        "none",
        "org/name",
    ],
)
def test_callers_may_name_nothing_outside_the_store(root: Path, bucket: Path, source: str) -> None:
    (root.parent / "outside").mkdir()
    (root / "link").symlink_to(root.parent / "outside")
    store = ModelStore(root)
    with pytest.raises(InvalidInput) as refused:
        store.local(store.admit(source))
    assert refused.value.param == "source"
    assert str(root.parent) not in refused.value.message and "secret" not in refused.value.message


def test_an_adapter_that_a_caller_names_has_its_base_in_the_store(root: Path) -> None:
    outside = shutil.copytree(tiny("bert"), root.parent / "base")
    adapter = save_adapter(root / "lora", outside)
    with pytest.raises(InvalidInput, match="base outside the model store; put the base into the store"):
        ModelStore(root).admit("lora")
    assert ModelStore().admit(str(adapter)) == str(adapter), "without a store any folder may be named"
    shutil.move(outside, root / "base")
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "../base"}))
    assert ModelStore(root).admit("lora") == str(adapter)


async def test_an_adapter_of_the_settings_may_have_its_base_anywhere(root: Path, database: Database) -> None:
    adapter = save_adapter(root / "lora", shutil.copytree(tiny("bert"), root.parent / "base"))
    observer = NullObserver()
    catalog = Catalog(load_model, Limits(), open_cache(observer), ThreadPoolExecutor(2), observer)
    stores = SqlRegistryStore(database), SqlEvaluationStore(database)
    registry = Registry(*stores, catalog, ModelStore(root), ModelSpec("", ""))
    try:
        made = await registry.adopt(ModelSpec("m", str(adapter)))
        change = await registry.promote(PromoteQuery("m", made.version, "ops", "next", None, "no data"))
        assert {c.name: c.passed for c in change.checks}["identity"], "and it can be promoted"
        for asked in (registry.register("n", "lora", "ops"), registry.load(ModelSpec("n", "lora"), "ops")):
            with pytest.raises(InvalidInput, match="base outside the model store"):
                await asked
    finally:
        await catalog.close()


def test_a_fetched_adapter_may_name_no_folder_of_this_machine(root: Path) -> None:
    adapter = save_adapter(root.parent / "lora", tiny("bert"))
    files = fsspec.filesystem("memory")
    for path in adapter.iterdir():
        files.pipe_file(f"memory://bucket/lora/{path.name}", path.read_bytes())
    with pytest.raises(InvalidInput, match="base outside the model store"):
        ModelStore(root).local("memory://bucket/lora")
    files.rm("/bucket", recursive=True)
    assert list((root / FETCHED).iterdir()) == []


def test_folders_of_the_store_are_named_by_their_path_in_it(root: Path) -> None:
    assert ModelStore(root).admit("tiny-1") == ModelStore(root).admit(str(root / "tiny-1"))
    assert ModelStore(root).admit("tiny-1") == str(root / "tiny-1")


def test_without_a_store_any_folder_may_be_named_and_no_url(root: Path) -> None:
    assert ModelStore().admit(str(root / "tiny-1")) == str(root / "tiny-1")
    assert ModelStore().admit("org/name@main") == "org/name@main"
    with pytest.raises(InvalidInput, match="model_store"):
        ModelStore().admit(URL)


def test_the_card_is_a_file_of_the_artifact(root: Path, bucket: Path) -> None:
    store, folder = ModelStore(root), root / "tiny-1"
    (root.parent / "secret").write_text("not for every key")
    assert store.card(str(folder), "") is None
    (folder / "MODEL_CARD.md").symlink_to(root.parent / "secret")
    assert store.card(str(folder), "") is None
    (folder / "README.md").write_text("# From a hub")
    assert store.card(str(folder), "") == "# From a hub"
    (folder / "MODEL_CARD.md").unlink()
    (folder / "MODEL_CARD.md").write_bytes("# Ours \u00fc".encode() + b"\xff")
    assert store.card(str(folder), "") == "# Ours \u00fc\ufffd"
    with pytest.raises(InvalidInput):
        store.card(str(root / "gone"), "")
    (folder / "MODEL_CARD.md").write_text("#" * 2 * MAX_CARD_BYTES)
    assert len(store.card(str(folder), "") or "") == MAX_CARD_BYTES


def test_a_card_of_a_url_is_read_here_and_fetches_nothing(root: Path, bucket: Path) -> None:
    store = ModelStore(root)
    with pytest.raises(InvalidInput):
        store.card(URL, "not-here")
    assert not (root / FETCHED).exists()
    kept = Path(store.local(URL))
    assert store.card(URL, kept.name) is None
    (kept / "README.md").write_text("# Kept")
    assert store.card(URL, kept.name) == "# Kept"


async def test_real_versions_are_registered_promoted_and_refused_once_changed(
    root: Path, bucket: Path, database: Database
) -> None:
    observer = NullObserver()
    catalog = Catalog(load_model, Limits(), open_cache(observer), ThreadPoolExecutor(2), observer)
    service = ScoringService(catalog, Limits(), observer)
    stores = SqlRegistryStore(database), SqlEvaluationStore(database)
    registry = Registry(*stores, catalog, ModelStore(root), ModelSpec("", ""))

    async def ask(model: str) -> tuple[str, float]:
        result = await service.score(ScoreQuery((Conversation.of("why?", "So."),), Options(model=model)))
        return result.model.digest, result.scores[0].reward

    try:
        await registry.register("m", "tiny-1", "ops")
        made = await registry.register("m", URL, "ops")
        before = await ask("m@1")
        assert await ask("m") == before and await ask("m@2") != before
        change = await registry.promote(PromoteQuery("m", "2", "ops", override_reason="no data yet"))
        assert {c.name: c.passed for c in change.checks}["certificate"] is True
        assert await ask("m") == await ask("m@2") and (await ask("m"))[0] == made.digest
        (root / "tiny-1" / "config.json").write_text("{}")
        with pytest.raises(GateRefused, match=r"identity: artifact tiny was changed"):
            await registry.promote(PromoteQuery("m", "1", "ops", override_reason="go back"))
        await registry.rollback("m", "champion", "ops", "worse")
        assert await ask("m") == before, "what is loaded is what was certified"
    finally:
        await service.close()
