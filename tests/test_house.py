"""The rules of the house: what may import what, how long a file may be, and what must not be in the package."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unmask

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "unmask").rglob("*.py"))
# A module may import only what stands left of it; `data` is read by whoever makes rows or runs.
LINE = (
    "errors alone allocator bounded settings randomness corpus tokens store rows noise data evaluation batch models "
    "recipes tasks training muon optim processes sharded train run jobs yardstick report machine quickstart "
    "commands __main__"
).split()
LIGHT = LINE[: LINE.index("batch")]


def room(path: Path) -> str:
    """The room of a source file: the folder or the module right under the package."""
    return path.relative_to(ROOT / "unmask").parts[0].removesuffix(".py")


def imports(path: Path, lazy: bool = True) -> set[str]:
    """Dotted modules that a file imports, without those for the type checker alone; ``lazy``: in functions too."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        todo += ast.iter_child_nodes(node)
    return found


def test_every_room_stands_in_the_line() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= set(LINE)


def test_imports_point_left() -> None:
    wrong = []
    for path in FILES:
        if room(path) == "__init__":
            continue
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("unmask.")} & set(LINE)
        wrong += [
            f"{path.name} of {room(path)}: {r}" for r in rooms if LINE.index(r) > LINE.index(room(path))
        ]
    assert not wrong


def test_nothing_up_to_noise_imports_torch() -> None:
    heavy = {"torch", "transformers", "datasets"}
    wrong = [
        path
        for path in FILES
        if room(path) in LIGHT and {n.split(".")[0] for n in imports(path, False)} & heavy
    ]
    assert not wrong
    rooms = ", ".join(f"unmask.{name}" for name in ["commands", *LIGHT])
    code = f"import sys, {rooms}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "quickstart",
        "bench",
        "plan",
        "corpus",
        "pretrain bert",
        "fill",
        "evaluate",
        "predict",
        "report",
        "import",
        "export",
    ]
    + [
        "glue",
        "superglue",
        "suite",
        "minimal-pairs",
        "embryo",
        "why",
        "why classify",
        "verify-resume modern",
    ],
)
def test_help_imports_no_torch(verb: str) -> None:
    words = [*verb.split(), "--help"]
    code = f"import sys; from unmask.__main__ import main; main({words}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False\n"), done.stdout + done.stderr
    assert "Usage: unmask" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_an_idea(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "more than 400 lines: two ideas"
    tree = ast.parse(text)
    assert not tree.body or ast.get_docstring(tree), "the first paragraph says what the file is"
    assert path.name not in ("utils.py", "common.py", "helpers.py", "misc.py")
    for word in ("TO" + "DO", "FIX" + "ME", "X" * 3):
        assert not re.search(rf"\b{word}\b", text)


def test_no_path_of_a_machine() -> None:
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    words = re.compile("/" + "work/|/" + "home/[a-z]|/" + "root/|/" + r"opt/|\.\./" + "shared")
    for name in filter(None, kept):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".html", ".json", ""} and path.is_file():
            found = words.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found.group()}"


def test_every_room_has_its_tests() -> None:
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    tested |= {
        path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")
    }
    assert {room(path) for path in FILES} - {"__init__", "__main__"} <= tested


def test_public_names() -> None:
    assert unmask.__all__ == sorted(unmask.__all__)
    modules = {
        path.stem if path.name != "__init__.py" else path.parent.name
        for path in FILES
        if room(path) == path.stem
    }
    modules |= {path.name for path in (ROOT / "unmask").iterdir() if path.is_dir()}
    for name in unmask.__all__:
        assert getattr(unmask, name) is not None
        assert name not in modules, f"importing unmask.{name} would hide the name {name}"
        home = importlib.import_module(unmask._HOME[name])
        assert getattr(unmask, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="elektra"):
        _ = unmask.elektra
    assert set(unmask.__all__) <= set(dir(unmask))


def test_import_is_quick() -> None:
    code = (
        "import sys, unmask; print(sorted(m for m in sys.modules if m.startswith('unmask') or m == 'numpy'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout.replace("'", '"')) == ["unmask"]


def test_version_is_that_of_the_package() -> None:
    assert f'version = "{unmask.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
