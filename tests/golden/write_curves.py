"""Writes `thirty.json`: the losses of thirty steps of every recipe, as `tests/recipes/test_golden.py` makes them.

    python tests/golden/write_curves.py          # only where a change of the numbers is meant

A commit that changes the file says why the numbers moved.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "recipes"))

from test_golden import FILE, curve  # noqa: E402  # once its folder is searched

from unmask.recipes import RECIPES  # noqa: E402  # stays with it


def main() -> None:
    curves = {name: [float(f"{loss:.9g}") for loss in curve(recipe())] for name, recipe in RECIPES.items()}
    lines = [f"  {json.dumps(name)}: {json.dumps(losses)}" for name, losses in curves.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{FILE} is written")


if __name__ == "__main__":
    main()
