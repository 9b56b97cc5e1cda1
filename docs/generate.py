"""Writes the generated pages of docs/ anew: ``make docs``. A test compares them with what this would write."""

from __future__ import annotations

from pathlib import Path

from unmask.recipes import table

HERE = Path(__file__).parent


def pages() -> dict[str, str]:
    """File name → content."""
    about = "The columns are the recipes' own docstrings; `make docs` writes this page."
    return {"recipes.md": f"# Which recipe for which text\n\n{about}\n\n{table()}"}


if __name__ == "__main__":
    for name, content in pages().items():
        (HERE / name).write_text(content, encoding="utf-8")
        print(f"docs/{name}")
