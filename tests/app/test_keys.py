"""The keys of callers: from a file and from the settings, rotated, and what is refused."""

import hashlib
from pathlib import Path

import pytest

from guerdon_service.app.auth import load_keys, read_keys
from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.settings import Settings
from guerdon_service.core.auth import Keyring, Scope
from guerdon_service.core.errors import InvalidInput, PermissionDenied, Unauthenticated
from guerdon_service.core.rate import KeyLimits

SHA = hashlib.sha256(b"secret").hexdigest()


def settings(argv: list[str] | None = None, environ: dict[str, str] | None = None) -> Settings:
    flags, file = parse_flags(argv or [])
    return load_settings(flags, environ or {}, file)


def test_keys_of_a_file_and_of_the_settings_are_one_ring(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    other = hashlib.sha256(b"other").hexdigest().upper()
    file.write_text(f"# who    digest   scopes\n\nops {other} admin,score # rotates in May\n")
    found = settings(["--api-key-file", str(file)], {"GUERDON_API_KEYS__CI__SHA256": SHA})
    ring = Keyring(load_keys(found))
    assert ring.authenticate("Bearer secret").tenant == "ci"
    assert ring.authenticate("bearer other").scopes == {Scope.ADMIN, Scope.SCORE}
    with pytest.raises(PermissionDenied, match="admin"):
        ring.authenticate("Bearer secret").require(Scope.ADMIN)
    for wrong in (None, "", "secret", "Basic secret", "Bearer", "Bearer ", f"Bearer {SHA}", "Bearer \udcff"):
        with pytest.raises(Unauthenticated):
            ring.authenticate(wrong)


def test_a_service_without_keys_is_open() -> None:
    caller = Keyring(load_keys(Settings())).authenticate(None)
    assert (caller.tenant, set(caller.scopes)) == ("", set(Scope))


@pytest.mark.parametrize(
    "line",
    [
        "ops",
        f"ops {SHA}",
        "ops hunter2 score",
        f"ops {SHA} root",
        f"ops {SHA} score,",
        f"ops {SHA} score extra",
        f"ops {SHA} score tokens_per_week=5",
        f"ops {SHA} score tokens_per_day=0",
        f"ops {SHA} score tokens_per_day=many",
        f"ops\N{SNOWMAN} {SHA} score",
        f"{'o' * 65} {SHA} score",
        f"o/ps {SHA} score",
    ],
)
def test_a_malformed_line_is_refused_by_number_and_not_repeated(line: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"fine {SHA} score\n{line}\n")
    with pytest.raises(InvalidInput, match="keys line 2") as refused:
        read_keys(file)
    assert "hunter2" not in refused.value.message
    assert SHA not in refused.value.message


def test_a_line_may_name_the_limits_of_its_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ci {SHA} read,score requests_per_minute=600 tokens_per_day=1e6\n")
    (key,) = read_keys(file)
    assert key.scopes == {Scope.READ, Scope.SCORE}
    assert key.limits == KeyLimits(requests_per_minute=600, tokens_per_day=1_000_000)


def test_a_key_file_that_opens_the_service_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# nobody yet\n")
    with pytest.raises(InvalidInput, match="no key"):
        read_keys(file)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_keys(tmp_path / "absent")


NEW = hashlib.sha256(b"new secret").hexdigest()


def test_a_key_is_rotated_by_a_second_one_of_its_name(tmp_path: Path) -> None:
    """In the file or beside the settings' own: both are one tenant, with one budget."""
    file = tmp_path / "keys"
    file.write_text(f"ci {SHA} score,read tokens_per_day=5\nci {NEW} read,score tokens_per_day=5\n")
    both = load_keys(settings(["--api-key-file", str(file)]))
    callers = {Keyring(both).authenticate(f"Bearer {secret}") for secret in ("secret", "new secret")}
    assert [caller.tenant for caller in callers] == ["ci"]
    file.write_text(f"ci {NEW} score\n")
    environ = {"GUERDON_API_KEYS__CI__SHA256": SHA, "GUERDON_API_KEY_FILE": str(file)}
    assert len(load_keys(settings(environ=environ))) == 2


@pytest.mark.parametrize("more", ["score,admin", "score requests_per_minute=5"])
def test_a_name_that_would_be_two_callers_is_refused(more: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ci {NEW} {more}\n")
    environ = {"GUERDON_API_KEYS__CI__SHA256": SHA, "GUERDON_API_KEY_FILE": str(file)}
    with pytest.raises(InvalidInput, match="ci is given twice"):
        load_keys(settings(environ=environ))


def test_no_key_is_named_as_callers_without_one_are() -> None:
    """Their evaluations of the time before there were keys would be its."""
    with pytest.raises(InvalidInput, match="anonymous"):
        load_keys(settings(environ={"GUERDON_API_KEYS__ANONYMOUS__SHA256": SHA}))
