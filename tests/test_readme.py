"""The README keeps its word: its Python runs as it stands, its commands parse, its words of make are there."""

from __future__ import annotations

import random
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.commands import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("docs/**/*.md")
}
PAGES["README.md"] = README
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORDS = "cat dog house river garden stone tree boat bird road".split()


def commands() -> list[tuple[str, str]]:
    """(page, line) of every command of a shell block that calls unmask or make."""
    found = []
    for page, text in PAGES.items():
        for kind, block in BLOCK.findall(text):
            if kind in ("", "sh", "bash", "console", "shell"):
                lines = block.replace("\\\n", " ").splitlines()
                found += [(page, line.strip().removeprefix("$ ")) for line in lines]
    return [(page, line) for page, line in found if re.match(r"(\.venv/bin/)?(unmask|make)( |$)", line)]


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    blocks = [block for kind, block in BLOCK.findall(README) if kind == "python"]
    assert blocks, "the README shows the Python API"
    (tmp_path / "texts").mkdir()
    draw = random.Random(0)
    for number in range(40):
        text = " ".join(f"The {' '.join(draw.sample(WORDS, 5))} is old." for _ in range(4))
        (tmp_path / "texts" / f"{number}.txt").write_text(text + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_commands() -> None:
    assert any(page == "README.md" for page, _ in commands())


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_exist(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    words = words[
        : next((at for at, word in enumerate(words) if word in ("|", ">", "&&", ";", "<")), len(words))
    ]
    if words[0] == "make":
        known = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(known)
        return
    words = words[1:]
    if not {"--help", "--version"} & set(words) and words:
        words = [word for word in words if word != "--debug"]
        if "--like" in words:  # opens the run that it names, and there is none here
            at = words.index("--like")
            words = words[:at] + words[at + 2 :]
        app(words).parse_args(words, exit_on_error=False, print_error=False)


def test_generated_pages_are_current() -> None:
    found = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for name, content in found["pages"]().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == content, f"docs/{name} is old: make docs"
