# ruff: noqa: E501 (tables of names)
"""No pickle and no code of strangers, by construction: what the package imports, calls and names.

One file is excepted, and for one call: `models/weights/foreign.py` opens foreign pickles with `torch.load`, and only
with `weights_only=True`. Pipes between our own processes carry JSON and Arrow, so that nothing is pickled there either.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "unmask").rglob("*.py"))
FOREIGN = "unmask/models/weights/foreign.py"  # may call torch.load
LAZY = "unmask/__init__.py"  # may import by a name out of its own literal table

# Modules that read or write pickles, or run what they are given.
MODULES = {
    "_pickle", "cPickle", "cloudpickle", "code", "codeop", "concurrent.futures.process", "copyreg", "dill", "imp", "joblib",
    "jsonpickle", "marshal", "multiprocessing", "pandas", "pickle", "pickletools", "runpy", "shelve", "torch.distributed.checkpoint",
    "torch.hub", "torch.jit", "torch.multiprocessing", "torch.package", "torch.serialization", "yaml",
}  # fmt: skip
# Names that must not even be mentioned, called or not: `loader = torch.load` would be one way around.
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint"}
ATTRIBUTES = {
    "torch.load", "torch.save", "torch.hub", "torch.jit", "torch.package", "torch.serialization", "torch.multiprocessing",
    "os.system", "os.popen", "os.execv", "os.execl", "os.spawnl", "os.spawnv", "subprocess.getoutput",
    "subprocess.getstatusoutput", "np.fromfile", "np.lib.format.read_array", "builtins.eval", "builtins.exec",
}  # fmt: skip
ENDINGS = ("_object", "_object_list", "read_pickle", "to_pickle", "ProcessPoolExecutor", "trust_remote_code")
# np.load takes a pickle unless it is told not to, and the default has changed before: it is written out.
LOADS = {"np.load", "numpy.load"}


def offences(tree: ast.AST, name: str = "") -> list[str]:
    """What a source file does that it must not."""
    found: list[str] = []
    loads = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"import {alias.name}" for alias in node.names if _within(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [f"from {each}" for each in whole if _within(each) or _named(each)]
            found += [
                f"from {each}"
                for each in whole
                if each in {"numpy.load", "subprocess.run", "subprocess.Popen"}
            ]
        elif isinstance(node, ast.Name) and node.id in NAMES:
            found.append(node.id)
        elif isinstance(node, ast.Attribute):
            whole_name = ast.unparse(node)
            if whole_name == "torch.load" and name == FOREIGN:
                loads += 1
            elif _named(whole_name):
                found.append(whole_name)
        elif isinstance(node, ast.keyword) and node.arg is not None:
            wanted = {"allow_pickle": "False", "weights_only": "True", "shell": "False"}
            said = ast.unparse(node.value)
            if node.arg == "trust_remote_code" or said != wanted.get(node.arg, said):
                found.append(f"{node.arg}={said}")
        elif isinstance(node, ast.Constant) and node.value == "trust_remote_code":
            found.append("trust_remote_code in a table of arguments")
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
            if called in LOADS and "allow_pickle" not in given:
                found.append(f"{called} without allow_pickle=False")
            if called == "torch.load" and name == FOREIGN:
                loads -= 1
                if "weights_only" not in given or None in given:
                    found.append("torch.load without weights_only=True")
            if (
                called.rpartition(".")[2] == "import_module"
                and name != LAZY
                and not _text(node.args[:1], ast.Constant)
            ):
                found.append("a module by a name that is not written here")
            if called.startswith("subprocess.") and (
                None in given or _text(node.args[:1], ast.Constant, ast.JoinedStr)
            ):
                found.append("a command that is one text, or arguments that are not written out")
            if (
                called == "getattr"
                and node.args
                and ast.unparse(node.args[0]) in {"torch", "np", "numpy", "os", "builtins"}
            ):
                found.append("an attribute of a library by its name")
    return [*found, *["torch.load that is not called"] * loads]


def _within(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:n]) in MODULES for n in range(1, len(parts) + 1))


def _named(whole: str) -> bool:
    return whole in ATTRIBUTES or whole.rpartition(".")[2].endswith(ENDINGS)


def _text(nodes: list[ast.expr], *kinds: type[ast.expr]) -> bool:
    return bool(nodes) and isinstance(nodes[0], kinds)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_pickle_and_no_eval(path: Path) -> None:
    assert not offences(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import _pickle", "import torch.multiprocessing as mp",
        "from torch import multiprocessing", "from torch import load", "from torch.serialization import load", "from numpy import load",
        "import multiprocessing", "from concurrent.futures import ProcessPoolExecutor", "import yaml", "import joblib",
        "torch.load(f)", "torch.load(f, weights_only=True)", "x = torch.load", "torch.save(x, f)", "torch.jit.load(f)", "torch.hub.load('a', 'b')",
        "np.load(f)", "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=flag)", "pd.read_pickle(f)",
        "dist.all_gather_object(a, b)", "dist.broadcast_object_list(a)", "from torch.distributed import gather_object",
        "eval(x)", "exec(x)", "compile(x, '', 'exec')", "__import__(x)", "[eval][0](x)", "importlib.import_module(name)", "import_module(f'a.{b}')",
        "AutoModel.from_pretrained(x, trust_remote_code=True)", "f(x, trust_remote_code=False)", "f(**{'trust_remote_code': 1})",
        "subprocess.run('rm -r x', shell=True)", "subprocess.run('ls')", "subprocess.run(f'ls {x}')", "subprocess.Popen(x, shell=s)",
        "subprocess.run(x, **more)", "os.system(x)", "os.popen(x)", "getattr(torch, 'load')(x)", "import torch.distributed.checkpoint as dcp",
        "def f():\n    from marshal import loads",
    ],
)  # fmt: skip
def test_what_would_be_found(code: str) -> None:
    assert offences(ast.parse(code), "unmask/x.py")


@pytest.mark.parametrize(
    "code",
    [
        "re.compile(x)", "torch.compile(x)", "np.load(f, allow_pickle=False)", "subprocess.run([sys.executable, '-m', x])",
        "importlib.import_module('unmask.jobs')", "model.load_state_dict(x)", "from safetensors.torch import load_file", "import pyarrow as pa",
    ],
)  # fmt: skip
def test_what_is_allowed(code: str) -> None:
    assert not offences(ast.parse(code), "unmask/x.py")


@pytest.mark.parametrize(
    ("code", "good"),
    [
        ("torch.load(f, weights_only=True)", True),
        ("torch.load(f, map_location='cpu', weights_only=True, mmap=m)", True),
        ("torch.load(f)", False),
        ("torch.load(f, weights_only=False)", False),
        ("torch.load(f, weights_only=safe)", False),
        ("torch.load(f, weights_only=True, **more)", False),
        ("load = torch.load", False),
        ("import pickle", False),
    ],
)
def test_the_one_file_that_opens_pickles(code: str, good: bool) -> None:
    assert (not offences(ast.parse(code), FOREIGN)) is good
