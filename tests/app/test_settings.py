"""Where settings come from, which source wins, and what is refused in whose words."""

import hashlib
import json
import re
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guerdon_service.app.early_checks import check_early
from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.loader import load_backend
from guerdon_service.app.settings import Settings
from guerdon_service.core.artifact import Artifact, ModelSpec
from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.shadow.plan import ShadowPlan
from tests.fakes import manifest

SHA = hashlib.sha256(b"secret").hexdigest()


def config(folder: Path, text: str) -> Path:
    file = folder / "guerdon.toml"
    file.write_text(text)
    return file


def settings(
    argv: list[str] | None = None, environ: dict[str, str] | None = None, file: Path | None = None
) -> Settings:
    flags, named = parse_flags(argv or [])
    return load_settings(flags, environ or {}, named or file)


def refusal(**sources: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        settings(**sources)
    return refused.value


def test_defaults_are_those_that_the_documentation_names() -> None:
    found = settings()
    assert (found.host, found.port, found.grpc_port) == ("127.0.0.1", 8080, 8081)
    assert found.limits == Limits()
    assert isinstance(found.limits, Limits)
    assert not found.specs
    assert not found.keys


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = config(tmp_path, 'port = 1\ngrpc_port = 1\nhost = "file"\nlog_level = "DEBUG"\n')
    environ = {"GUERDON_PORT": "2", "GUERDON_GRPC_PORT": "2"}
    found = settings(["--port", "3", "--config", str(file)], environ)
    assert (found.port, found.grpc_port, found.host, found.log_level) == (3, 2, "file", "DEBUG")
    assert found.cache_bytes == Settings().cache_bytes


@pytest.mark.parametrize(
    ("given", "budgets"),
    [({}, (2048, 16_384)), ({"": "512"}, (512, 512)), ({"": "512", "_CUDA": "4096"}, (512, 4096))],
)
def test_a_token_budget_that_is_given_alone_holds_on_cuda_too(
    given: dict[str, str], budgets: tuple[int, int]
) -> None:
    environ = {f"GUERDON_LIMITS__MAX_BATCH_TOKENS{end}": value for end, value in given.items()}
    limits = settings([], environ).limits
    assert (limits.max_batch_tokens, limits.max_batch_tokens_cuda) == budgets


def test_tables_merge_key_by_key(tmp_path: Path) -> None:
    file = config(
        tmp_path, "[limits]\nmax_items = 1\nmax_item_chars = 1\n[models.a]\nsource='/a'\ndtype='bfloat16'\n"
    )
    environ = {"GUERDON_LIMITS__MAX_ITEMS": "2", "GUERDON_MODELS__A__DTYPE": "float16"}
    found = settings(["--model", "b=/b"], environ, file)
    assert (found.limits.max_items, found.limits.max_item_chars) == (2, 1)
    assert [(s.name, s.source, s.dtype) for s in found.specs] == [
        ("a", "/a", "float16"),
        ("b", "/b", "float32"),
    ]


def test_a_variable_may_hold_json() -> None:
    environ = {
        "GUERDON_MODELS": json.dumps({"A": {"source": "/a"}, "B": {"source": "/b"}}),
        "GUERDON_MODELS__both__MEMBERS": '["A", "B"]',
        "GUERDON_API_KEYS": json.dumps({"ci": {"sha256": SHA, "scopes": ["admin", "score"]}}),
    }
    found = settings(environ=environ)
    assert [(s.name, s.members) for s in found.specs] == [("A", ()), ("B", ()), ("both", ("A", "B"))]
    assert found.keys[0].scopes == {Scope.ADMIN, Scope.SCORE}


def test_ensembles_load_after_their_members(tmp_path: Path) -> None:
    file = config(
        tmp_path, "[models.a]\nmembers=['z','y']\n[models.z]\nsource='/z'\n[models.y]\nsource='/y'\n"
    )
    assert [s.name for s in settings(file=file).specs] == ["z", "y", "a"]


def test_a_member_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="twice"):
        settings(file=config(tmp_path, "[models.a]\nmembers=['z','y','z']\n"))


@pytest.mark.parametrize("conservatism", ["nan", "inf", "-inf"])
def test_an_ensembles_conservatism_is_a_number(tmp_path: Path, conservatism: str) -> None:
    with pytest.raises(InvalidInput, match="conservatism"):
        settings(file=config(tmp_path, f"[models.a]\nmembers=['z','y']\nconservatism={conservatism}\n"))


def test_the_services_own_backend_dtype_and_device_are_its_models_defaults() -> None:
    argv = ["--model", "a=/a", "--backend", "onnxruntime", "--dtype", "int8", "--device", "cuda"]
    found = settings(argv, {"GUERDON_MODELS__A__DEVICE": "cpu"})
    assert [(s.backend, s.dtype, s.device) for s in found.specs] == [("onnxruntime", "int8", "cpu")]


def test_devices_are_of_models_that_name_no_device_of_their_own(tmp_path: Path) -> None:
    file = config(
        tmp_path,
        "devices=['cuda:0','cuda:1']\n[models.a]\nsource='/a'\n[models.b]\nsource='/b'\ndevice='cpu'\n"
        "[models.c]\nsource='/c'\ndevices=['cpu']\n[models.d]\nsource='/d'\ndevices=[]\n"
        "[models.e]\nmembers=['a','b']\n",
    )
    found = {spec.name: spec.devices for spec in settings(file=file).specs}
    assert found == {"a": ("cuda:0", "cuda:1"), "b": (), "c": ("cpu",), "d": (), "e": ()}
    argv = ["--model", "a=/a", "--devices", "cpu", "--devices", "cpu"]
    assert settings(argv).specs[0].devices == ("cpu", "cpu")


@pytest.mark.parametrize("given", ["devices='cuda'", "devices=['gpu0']", "devices=['cpu']\ndevice='cuda'"])
def test_devices_that_cannot_be_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(InvalidInput, match="device"):
        settings(file=config(tmp_path, f"[models.a]\nsource='/a'\n{given}\n"))


def test_other_programs_variables_and_the_clients_are_left_alone() -> None:
    environ = {"PORT": "1", "GUERDON_URL": "http://x", "GUERDON_API_KEY": "secret", "GUERDONPORT": "1"}
    environ |= {f"GUERDON_CLIENT_TLS_{name}": "a.pem" for name in ("CA", "CERTIFICATE", "KEY")}
    assert settings(environ=environ) == Settings()


@pytest.mark.parametrize(
    ("sources", "param", "near"),
    [
        ({"environ": {"GUERDON_POTR": "1"}}, "GUERDON_POTR", "port"),
        ({"environ": {"GUERDON_REST_PORT": "8080"}}, "GUERDON_REST_PORT", "grpc_port"),
        ({"environ": {"GUERDON_LIMITS__MAX_ITEM": "1"}}, "GUERDON_LIMITS__MAX_ITEM", "max_items"),
        ({"environ": {"GUERDON_MODELS__A__SORCE": "1"}}, "GUERDON_MODELS__A__SORCE", "source"),
        ({"environ": {"GUERDON_REDIS__URL": "1"}}, "GUERDON_REDIS", "redis_url"),
        ({"file": "grpcport = 1"}, "grpcport in guerdon.toml", "grpc_port"),
        ({"file": "[limits]\nmax_json_dept = 1"}, "limits.max_json_dept in guerdon.toml", "max_json_depth"),
        (
            {"file": f"[api_keys.ci]\nsha256='{SHA}'\nscope=['score']"},
            "api_keys.ci.scope in guerdon.toml",
            "scopes",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known(
    sources: dict[str, Any], param: str, near: str, tmp_path: Path
) -> None:
    if "file" in sources:
        sources = {"file": config(tmp_path, sources["file"])}
    error = refusal(**sources)
    assert error.param == param
    assert f"{param} is no setting; did you mean {near}?" in error.message


@pytest.mark.parametrize(
    ("sources", "param"),
    [
        ({"argv": ["--port", "http"]}, "--port"),
        ({"argv": ["--port", "65536"]}, "--port"),
        ({"argv": ["--grpc-port", "-1"]}, "--grpc-port"),
        ({"argv": ["--model", "/path"]}, "--model"),
        ({"argv": ["--model", "a="]}, "--model"),
        ({"argv": ["--drain-timeout-s", "nan"]}, "--drain-timeout-s"),
        ({"argv": ["--log-level", "LOUD"]}, "--log-level"),
        ({"environ": {"GUERDON_PORT": "8080.5"}}, "GUERDON_PORT"),
        ({"environ": {"GUERDON_MODELS": "{"}}, "GUERDON_MODELS"),
        ({"environ": {"GUERDON_MODELS": "/path"}}, "GUERDON_MODELS"),
        ({"environ": {"GUERDON_LIMITS__MAX_ITEMS": "0"}}, "GUERDON_LIMITS"),
        ({"environ": {"GUERDON_LIMITS__DEFAULT_DEADLINE_S": "inf"}}, "GUERDON_LIMITS"),
        ({"environ": {"GUERDON_MODELS__A__DTYPE": "float16"}}, "GUERDON_MODELS__A"),
        ({"argv": ["--model", "a=/a"], "environ": {"GUERDON_MODELS__A__MEMBERS": '["b"]'}}, "--model a"),
        ({"argv": ["--model", "a b=/a"]}, None),
        ({"argv": ["--model", "a=/a", "--default-model", "b"]}, None),
        ({"environ": {"GUERDON_API_KEYS__CI__SHA256": "short"}}, "GUERDON_API_KEYS__CI__SHA256"),
    ],
)
def test_a_value_that_cannot_be_is_named_as_the_operator_wrote_it(
    sources: dict[str, Any], param: str | None
) -> None:
    error = refusal(**sources)
    assert param is None or error.param == param
    assert (param or "") in error.message


def test_a_refused_secret_is_not_repeated() -> None:
    assert "hunter2" not in refusal(environ={"GUERDON_API_KEYS__CI__SHA256": "hunter2"}).message


@pytest.mark.parametrize("text", ["port = ", "port = 1\nport = 2", "\udcff"])
def test_a_file_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "guerdon.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "guerdon.toml" in refusal(file=file).message
    assert "guerdon.toml" in refusal(argv=["--config", str(tmp_path / "no" / "guerdon.toml")]).message


@pytest.mark.parametrize("argv", [["--prot", "1"], ["--mod", "a=/a"], ["extra"]])
def test_an_unknown_flag_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse_flags(argv)
    assert left.value.code == 2
    assert argv[0] in capsys.readouterr().err


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_a_redis_password_is_not_printed() -> None:
    assert "hunter2" not in repr(settings(["--redis-url", "redis://:hunter2@host"]))


@given(st.dictionaries(st.from_regex(r"GUERDON_[A-Z_]{1,12}", fullmatch=True), st.text(max_size=8)))
def test_any_variables_are_taken_or_refused_by_name(environ: dict[str, str]) -> None:
    try:
        load_settings({}, environ, None)
    except InvalidInput as error:
        assert any(name.startswith(error.param or "") for name in environ)
        assert error.param and error.message.startswith(error.param)


# Keys


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--port", "x"], "--port cannot be used"),
        (["--backend", "torhc"], "backend is 'torhc'; use one of torch, onnxruntime"),
        (["--redis-url", "localhost:6379"], "redis_url cannot be used (Redis URL must"),
        (["--state-url", "mysql://db/guerdon"], "state_url names a database of the kind 'mysql'"),
        (["--state-url", "sqlite:///absent/state.db"], "state_url names a file in absent, which does not"),
        (["--grpc-port", "TAKEN"], "grpc_port TAKEN on 127.0.0.1 cannot be listened on ("),
    ],
)
def test_a_wrong_setting_is_answered_without_torch(given: list[str], told: str) -> None:
    code = (
        "import sys; from guerdon_service.app.serve import serve_command\n"
        "try: serve_command(sys.argv[1:])\n"
        "except Exception as e: print(e)\n"
        "print('torch' in sys.modules)"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        argv = ["--port", "0", *(taken if text == "TAKEN" else text for text in given)]
        out = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    said, with_torch = out.stdout.splitlines()
    assert said.startswith(told.replace("TAKEN", taken))
    assert with_torch == "False"


def test_a_back_end_is_refused_early_in_the_words_of_the_loader() -> None:
    with pytest.raises(InvalidInput) as early:
        check_early(Settings(backend="none", port=0, grpc_port=0))
    artifact = Artifact(Path(), Path(), None, manifest())
    with pytest.raises(InvalidInput) as late:
        load_backend(ModelSpec("m", "", "none"), artifact)
    assert early.value.message == late.value.message


def test_the_gate_and_a_candidates_traffic_are_settings() -> None:
    settings = load_settings(
        {}, {"GUERDON_GATE__MAX_ECE": "0.2", "GUERDON_SHADOW__CANARY_SHARE": "0.1"}, None
    )
    assert isinstance(settings.gate, GatePolicy)
    assert asdict(settings.gate) == asdict(GatePolicy(max_ece=0.2))
    assert settings.shadow.plan == ShadowPlan(canary_share=0.1)


@pytest.mark.parametrize(
    ("name", "near"),
    [("GATE__MAX_EC", "max_ece"), ("SHADOW__CANARY", "canary_share"), ("LIMITS__MAX_ITMS", "max_items")],
)
def test_an_unknown_bound_is_refused_beside_those_of_its_table(name: str, near: str) -> None:
    with pytest.raises(
        InvalidInput, match=f"GUERDON_{name} is no setting; did you mean {near}[?]"
    ) as refused:
        load_settings({}, {f"GUERDON_{name}": "0.2"}, None)
    assert "port" not in refused.value.message


@pytest.mark.parametrize(
    ("argv", "environ", "told"),
    [
        (["--dialect", "vllm,tei"], {}, r"^--dialect cannot be used: .*; give --dialect once for each$"),
        (["--dialect", "vlm"], {}, r"^--dialect cannot be used: .* or 'oip'$"),
        (["--devices", "cuda:0,cuda:1"], {}, r"^--devices cannot be used: .*; give --devices once for each$"),
        (
            [],
            {"GUERDON_DIALECTS": "vllm,tei"},
            r'^GUERDON_DIALECTS cannot be used: .*; write a list, \["A", "B"\]$',
        ),
        (["--model", "a b=/models/a"], {}, r"^--model a b cannot be used: "),
        (["--tls-certificate", "chain.pem"], {}, r"^tls_certificate and tls_key belong together; give both"),
        (
            ["--model", "a=/models/a", "--default-model", "b"],
            {},
            r"^default_model is b, which is not among models",
        ),
        ([], {"GUERDON_SHADOW__CANARY_TENANTS": "a,b"}, r'cannot be used: .*; write a list, \["A", "B"\]'),
        ([], {"GUERDON_MODELS__1__DEVICE": "cpu"}, r"^GUERDON_MODELS__1 cannot be used"),
        ([], {"GUERDON_LIMITS__5": "1"}, r"^GUERDON_LIMITS__5 is no setting"),
    ],
)
def test_a_refusal_begins_with_what_was_written_and_says_how_to_write_several(
    argv: list[str], environ: dict[str, str], told: str
) -> None:
    assert re.search(told, refusal(argv=argv, environ=environ).message)
