"""What no source file of the service, the client or training may do, read from their syntax trees."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docs.module_list import ROOT

FOLDERS = ("service/guerdon_service", "training/guerdon_training", "client/guerdon")
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
CODE = {"eval", "exec", "__import__", "execfile"}
"""Builtins that run text."""
NETWORK = {
    "httpx",
    "requests",
    "urllib.request",
    "urllib3",
    "aiohttp",
    "http.client",
    "fsspec",
    "huggingface_hub",
}
MAY_REACH_OUT = {
    "service/guerdon_service/registry/model_store.py": "URLs that an admin registers",
    "service/guerdon_service/artifacts/resolve.py": "hub ids that the operator names",
    "service/guerdon_service/backends/safe.py": "an exception's name; nothing is asked",
    "service/guerdon_service/bulk/cursor.py": "files that the operator names on the command line",
    "service/guerdon_service/bulk/inputs.py": "files that the operator names on the command line",
    "service/guerdon_service/bulk/output.py": "the folder that the operator names on the command line",
    "service/guerdon_service/policies/openai_policy.py": "the engine's URL in the operator's settings",
    "service/guerdon_service/policies/openai_judge.py": "the judge's URL in the operator's settings",
}
"""The only files of the service that may import a network client, and whose word they follow."""
EXCEPTIONS = {
    "service/guerdon_service/bulk/local.py: imports pickle": "an exception of a pipe to its children",
    "training/guerdon_training/ppo/checkpoint.py: calls torch.load": "weights_only, a run's own folder",
    "training/guerdon_training/yaml_text.py: calls yaml.load": "its loader is a yaml.SafeLoader",
}
"""Findings that were looked at, and why they are safe."""
FLAGS = {
    "trust_remote_code": True,
    "allow_pickle": True,
    "shell": True,
    "weights_only": False,
    "verify": False,
}
"""Keyword arguments that switch a safeguard off."""


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def findings(tree: ast.AST) -> Iterator[str]:
    """What is forbidden everywhere, in words."""
    for node in ast.walk(tree):
        for module in imported(node):
            if module.split(".")[0] in PICKLES:
                yield f"imports {module}"
        if isinstance(node, ast.Call):
            yield from call_findings(node)


def call_findings(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    if name in CODE:
        yield f"calls {name}"
    if name in ("torch.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen"):
        yield f"calls {name}"
    if name in ("np.load", "numpy.load") and not any(k.arg == "allow_pickle" for k in call.keywords):
        yield f"calls {name} without allow_pickle=False"
    for keyword in call.keywords:
        given = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg in FLAGS and given is FLAGS[keyword.arg]:
            yield f"passes {keyword.arg}={given}"


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_pickle_no_code_from_text_and_no_safeguard_off(folder: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {finding}"
        for path in sources(folder)
        for finding in findings(ast.parse(path.read_text("utf-8")))
    }
    assert found == {finding for finding in EXCEPTIONS if finding.startswith(folder)}


def test_the_exceptions_are_what_they_say() -> None:
    checkpoint = (ROOT / "training/guerdon_training/ppo/checkpoint.py").read_text("utf-8")
    assert checkpoint.count("torch.load(") == checkpoint.count("weights_only=True)") == 1
    loader = importlib.import_module("guerdon_training.yaml_text")._Loader
    assert issubclass(loader, yaml.SafeLoader)


def test_only_known_files_of_the_service_can_reach_out() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources("service/guerdon_service")
        if "bench" not in path.parts  # a load generator, which no request reaches
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for module in imported(node)
        if any(module == client or module.startswith(f"{client}.") for client in NETWORK)
    }
    assert found == set(MAY_REACH_OUT)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "import marshal as m",
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "yaml.load(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
    ],
)
def test_the_scan_finds_what_it_looks_for(code: str) -> None:
    assert list(findings(ast.parse(code)))


@pytest.mark.parametrize("code", ["model.eval()", "re.compile(x)", "yaml.safe_load(x)", "f(shell=False)"])
def test_the_scan_leaves_the_rest_alone(code: str) -> None:
    assert not list(findings(ast.parse(code)))
