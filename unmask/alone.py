"""One process works in a folder at a time: a lock of the system, which a kill lets go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unmask.errors import UnmaskError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out, by a lock on the file .lock; nothing where the file system or the system has none.

    Raises `UnmaskError` for the second process.
    """
    with open(folder / ".lock", "ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnmaskError(
                f"another process works in {folder} — one at a time was expected — wait for it, stop it, or choose "
                "another folder"
            ) from None
        except (ImportError, OSError):
            pass
        yield
