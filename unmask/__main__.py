"""The command line: an error is a sentence on standard error and exit code 2, a stop is 130, ``--debug`` tells all."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from unmask.allocator import keep_memory
from unmask.errors import UnmaskError
from unmask.settings import TYPED

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ONWARD = "stopped; the same command again goes on from the last checkpoint, or anew where there is none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 2 for a user's error, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    TYPED.set(shlex.join(["unmask", *words]))
    if words[:1] != ["corpus"]:  # which has processes that set it for themselves, and should stay small
        keep_memory()
    try:
        from unmask.commands import app

        app(words)(words, exit_on_error=False, print_error=False)
    except UnmaskError as error:
        if debug:
            raise
        return _complain(str(error))
    except CycloptsError as error:
        if debug:
            raise
        chain = " ".join(["unmask", *(error.command_chain or ())])
        return _complain(f"{error} `{chain} --help` shows what there is.")
    except KeyboardInterrupt as stop:
        if debug:
            raise
        print(f"\nunmask: {str(stop) or ONWARD}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `unmask predict … | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder without permission: the system's own words and the place
        if debug or error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        if error.errno in FULL:
            return _complain(
                f"{place}{error.strerror} — the disk is full — make room and run the same command again; what was "
                "whole before is whole still"
            )
        return _complain(
            f"{place}{error.strerror} — a file that can be read or written was expected — check the path"
        )
    except RuntimeError as error:
        if debug or type(error).__name__ != "OutOfMemoryError":  # torch's; it is not imported for other verbs
            raise
        first = str(error).splitlines()[0][:200]
        return _complain(
            f"the memory of the GPU is full ({first}) — a batch that fits was expected — raise --accumulate (what has "
            "begun goes on so with --allow-changed accumulate), or lower --batch"
        )
    except SystemExit as end:  # cyclopts ends so after --help and --version
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _complain(message: str) -> int:
    from unmask.commands.watch import visible

    print(f"unmask: {visible(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
