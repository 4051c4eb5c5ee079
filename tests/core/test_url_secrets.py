import subprocess
import sys

import pytest

from guerdon_service.core.url_secrets import has_credentials, without_secrets


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3://AKIA:hunter2@bucket/a", "s3://...@bucket/a"),
        ("s3://hunter2@bucket/a", "s3://...@bucket/a"),
        ("s3://u:hunter2/hunter2@h", "s3://...@h"),
        ("s3://u:hunter2@hunter2@h", "s3://...@h"),
        ("s3://u:hunter2@hunter2/hunter2@h/a", "s3://...@h/a"),
        ("s3://u:hunter2?hunter2@h", "s3://...@..."),
        ("s3://u:hunter2#@h", "s3://...@h"),
        ("zip://a/b::s3://u:hunter2@h/z", "zip://a/b::s3://...@h/z"),
        ("from https://u:hunter2@h to s3://k:hunter2@b", "from https://...@h to s3://...@b"),
    ],
)
def test_credentials_are_cut_out(text: str, told: str) -> None:
    assert without_secrets(text) == told
    assert has_credentials(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://bucket/a?X-Signature=hunter2@x", "s3://bucket/a?..."),
        ("s3://bucket?hunter2:hunter2@x", "s3://bucket?..."),
        ("hf://org/model@main", "hf://org/model@main"),
        ("http://host:8080/a", "http://host:8080/a"),
        ("ask me@example.org: see http://h/", "ask me@example.org: see http://h/"),
    ],
)
def test_what_has_none_is_told_without_its_query(text: str, told: str) -> None:
    assert without_secrets(text) == told
    assert not has_credentials(text)


def test_a_path_after_a_port_may_have_an_at_sign() -> None:
    """The audit log, where too much may be cut out, takes it for a password."""
    url = "https://store.internal:9000/models/rm@v2"
    assert not has_credentials(url)
    assert without_secrets(url) == "https://...@v2"


def test_a_long_text_takes_time_in_proportion() -> None:
    """In the square of it, what the audit log keeps of one call would stop the service for hours."""
    code = (
        "import sys; from guerdon_service.core.audit import told\n"
        "for part in sys.argv[1:]: told({'reason': part * 300_000})"
    )
    parts = ["://", "://a", "://:", "@://", "://a:", "://?"]
    subprocess.run([sys.executable, "-c", code, *parts], check=True, timeout=120)
