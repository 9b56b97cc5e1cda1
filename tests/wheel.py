"""Every file of the package is in the wheel: ``python tests/wheel.py dist/NAME.whl``. Exits with 1 if not."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "unmask"


def missing(wheel: Path) -> list[str]:
    """Files of the package folder that the wheel lacks, as paths within the wheel."""
    here = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(here - set(zipfile.ZipFile(wheel).namelist()))


if __name__ == "__main__":
    lacking = missing(Path(sys.argv[1]))
    print("\n".join(f"not in the wheel: {name}" for name in lacking) or "wheel: complete")
    sys.exit(bool(lacking))
