"""Where artifacts come from: folders, hub ids, and anything that fsspec reads, kept by digest."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import fsspec

from guerdon_service.artifacts.layout import find_layout
from guerdon_service.artifacts.read import read_artifact, read_manifest
from guerdon_service.artifacts.resolve import resolve
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.url_secrets import has_credentials
from guerdon_service.registry.loader import MissingArtifact

CARDS = ("MODEL_CARD.md", "README.md")
"""What training calls the model card, and what hubs call it."""
MAX_CARD_BYTES = 1024 * 1024
FETCHED = "fetched"
"""Folder below the model store that holds what came from URLs, by digest."""


@dataclass(frozen=True, slots=True)
class ModelStore:
    """Artifacts by source. All methods block.

    root: folder that API callers' sources must lie in, and that artifacts from URLs are kept in. None: any
        folder may be named, and no URL.
    """

    root: Path | None = None

    def absolute(self, source: str) -> str:
        """`source` as it is kept: absolute, where it is a folder."""
        folder = Path(source).expanduser()
        return str(folder.resolve()) if folder.is_dir() else source

    def admit(self, source: str) -> str:
        """What an API caller names, as it is kept; a relative path is one of the model store.

        Raises:
            InvalidInput: a folder outside the model store, an adapter whose base lies outside, or a URL that
                is none of ours or has a secret.
        """
        _check_plain(source)
        if "://" in source:
            self._fetched_folder(source)
            return source
        if self.root is None:
            return self.absolute(source)
        folder = (self.root / source).resolve()
        if not folder.is_relative_to(self.root.resolve()) or not folder.is_dir():
            raise InvalidInput(
                "source is no folder of the model store; name one by its path in the store, or give a URL",
                param="source",
            )
        find_layout(folder, read_manifest(folder), self.root)
        return str(folder)

    def local(self, source: str, digest: str | None = None) -> str:
        """A source on this machine; what comes from a URL is fetched unless its digest is here.

        Args:
            digest: what was registered. It was whole then, so that a part that is not here, and a download
                that is not whole, are faults of this machine, or of the moment.

        Raises:
            MissingArtifact: no such folder, or the URL cannot be read; with `digest` also a part, such as
                an adapter's base, that is not here, and a download that is damaged, or may be.
            InvalidInput: the URL holds no artifact; with `digest`, one that its own manifest says is another.
            GuerdonError: the store cannot be written to.
        """
        if "://" not in source:
            with _not_here():
                _check_parts(source, digest)
            return source
        kept = self._fetched_folder(source)
        if digest is None:
            return str(self._fetched(source, kept))
        if not (kept / digest).is_dir():
            return str(self._fetched(source, kept, digest))
        with _not_here():
            _check_parts(str(kept / digest), digest)
        return str(kept / digest)

    def read(self, source: str, name: str) -> Manifest:
        """The manifest of a local source, every file of it digested now.

        Raises:
            InvalidInput: the artifact is refused, for instance because it was changed.
        """
        return read_artifact(source, name).manifest

    def card(self, source: str, digest: str) -> str | None:
        """The model card of an artifact that is on this machine, at most `MAX_CARD_BYTES`; None without one.

        What a URL names is not fetched for it: anybody may ask for a card. In a folder a link is no card: it
        could lead to any file of this machine. A hub's cache is all links.

        Raises:
            InvalidInput: there is no artifact here, or not any more.
        """
        if "://" in source:
            source = str(self._fetched_folder(source) / digest)
        folder, may_link = resolve(source), not Path(source).expanduser().is_dir()
        for path in (folder / name for name in CARDS):
            if path.is_file() and (may_link or not path.is_symlink()):
                with path.open("rb") as file:
                    return file.read(MAX_CARD_BYTES).decode("utf-8", errors="replace")
        return None

    def _fetched(self, source: str, kept: Path, digest: str | None = None) -> Path:
        partial = kept / f".{uuid.uuid4().hex}"
        try:
            _make(partial)
            _fetch(source, partial)
            with nullcontext() if digest is None else _not_here():
                found = read_artifact(str(partial), _last_part(source), self.root).manifest.digest
            if digest not in (None, found):
                raise _other(found, digest, read_manifest(partial))
            if not (kept / found).is_dir():
                partial.replace(kept / found)
            return kept / found
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _fetched_folder(self, source: str) -> Path:
        scheme = source.partition("://")[0]
        if self.root is None:
            raise InvalidInput(
                "source is a URL, and no model_store is configured to keep its files in; configure one",
                param="source",
            )
        if not scheme.isidentifier() or scheme in ("file", "local"):
            raise InvalidInput(
                f"source has the scheme {scheme[:40]!r}; name a folder by its path, or give one plain URL",
                param="source",
            )
        return self.root / FETCHED


def _check_plain(source: str) -> None:
    """A chain of file systems would lead anywhere; a secret would be kept, and shown to every admin."""
    if "::" in source or "\0" in source:
        raise InvalidInput(
            "source has '::' or a NUL in it; give a folder of the model store, or one plain URL",
            param="source",
        )
    if has_credentials(source):
        raise InvalidInput(
            "source has credentials in its URL; give them to the service by its environment", param="source"
        )


@contextmanager
def _not_here() -> Iterator[None]:
    """What is refused within may be otherwise later, or on another replica."""
    try:
        yield
    except InvalidInput as err:
        raise MissingArtifact(err.message, param=err.param) from err


def _check_parts(source: str, digest: str | None) -> None:
    """Raise `InvalidInput` where `source`, or a part of what was registered, is not here."""
    folder = resolve(source)
    if digest is not None:
        find_layout(folder, read_manifest(folder))


def _other(found: str, digest: str, manifest: Manifest | None) -> InvalidInput:
    """One whose manifest says the digest that it has came whole: nobody need fetch it again."""
    gave = f"source is a URL that gave an artifact with digest {found[:12]}, registered is {digest[:12]}"
    remedy = "put it back, or register it as a new version"
    if manifest is not None and manifest.digest:
        return InvalidInput(f"{gave}; it was replaced: {remedy}", param="source")
    return MissingArtifact(f"{gave}; it was damaged on the way, or changed: {remedy}", param="source")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as err:
        raise GuerdonError(
            f"the model store cannot be written to ({err.strerror}), where what comes from URLs is kept; "
            "make room in it, or set model_store to a folder that the service may write to"
        ) from err


def _fetch(source: str, folder: Path) -> None:
    """Copy every file below a URL."""
    try:
        files, root = fsspec.core.url_to_fs(source)
        paths = files.find(root)
        for path in paths:
            target = folder / path.removeprefix(root).lstrip("/")
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError("a file name leads out of the artifact")
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(target))
    except Exception as err:  # each file system has errors of its own
        raise MissingArtifact(
            f"source {source.partition('://')[0]}://... could not be fetched ({type(err).__name__}); check "
            "the URL, its credentials, and that the package for its scheme is installed",
            param="source",
        ) from err
    if not paths:
        raise MissingArtifact(
            "source is a URL without files; give that of an artifact folder", param="source"
        )


def _last_part(source: str) -> str:
    return source.rstrip("/").rpartition("/")[2]
