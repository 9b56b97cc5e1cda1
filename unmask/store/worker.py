"""A worker process of a build, `python -m unmask.store.worker`, and the other end of its pipes.

A worker is a process of our own, started anew: it never imports the caller's `__main__`, so a build may be called
from a notebook, from a script without a guard or from standard input, and nothing is pickled. The first line of
its input names the tokenizer; every further line is a piece of the gathered text and a file for its tokens, an Arrow
stream, and is answered by a line once they are there. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from unmask.allocator import REST, give_back
from unmask.errors import UnmaskError
from unmask.store.encode import Piece, encode_piece
from unmask.store.read import numbers
from unmask.store.write import Tokenised, flat
from unmask.tokens import Tokenizer, load_tokenizer

_WORTH = 4  # pieces that pay for starting a process
_DONE, _FAILED = b"done\n", b"failed "


class Workers:
    """Encodes pieces in processes while the caller does something else: `begin` them, then ask for the `result`.

    Results wait in files of `building`, so memory holds none of them. There are at most `processes` processes; if
    None, none for a small text and one for every processor for a large one. Where none was started, a piece is encoded
    when its result is asked for. The tokenizer in `building` must be there when the first piece begins.
    """

    def __init__(self, building: Path, processes: int | None) -> None:
        if processes is not None and processes < 1:
            raise UnmaskError(f"processes is {processes} — expected at least 1")
        self._building, self._asked = building, processes
        self._most = processes or _processors()
        self._waiting: list[Piece] = []  # for a process to be worth its start
        self._begun: dict[Piece, Future[Path]] = {}
        self._count = 0  # pieces that ever began
        self._started: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(self._most)  # one waits for each process
        self._failure: UnmaskError | None = None

    def __enter__(self) -> Workers:
        for stale in self._building.glob("*.tokens"):  # of a stopped build; or a link to somewhere else
            stale.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        for worker in self._started:
            worker.terminate()  # idle, unless something went wrong; then what it has in hand is not wanted
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._started:
            with contextlib.suppress(BrokenPipeError):
                worker.communicate()

    def start(self, count: int) -> None:
        """Let at least so many processes be there, but no more than allowed; one alone is none."""
        search = os.pathsep.join(map(os.path.abspath, sys.path))  # they import what we import
        # Large arrays come and go with every piece: glibc keeps their memory, which spares a fifth of the time.
        kept = {f"MALLOC_{name}_THRESHOLD_": str(1 << 30) for name in ("MMAP", "TRIM")}
        environment = {**kept, **os.environ, "PYTHONPATH": search, "TOKENIZERS_PARALLELISM": "false"}
        count = min(count, self._most)
        while 1 < count > len(self._started):
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "unmask.store.worker"],  # -P: the working folder is no place for modules
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            )  # fmt: skip
            self._started.append(worker)
            _tell(worker, {"tokenizer": str(self._building / "tokenizer")})
            self._idle.put(worker)

    def begin(self, piece: Piece) -> None:
        """Have a piece encoded, unless it has begun already. Raises `UnmaskError` if a process has died."""
        if self._failure:
            raise self._failure
        if piece in self._begun or piece in self._waiting or self._most == 1:
            return
        self._waiting.append(piece)
        self._count += 1
        self.start(self._count if self._asked else self._count // _WORTH)
        if self._started:
            for number, each in enumerate(self._waiting, self._count - len(self._waiting)):
                file = self._building / f"{number:07d}.tokens"
                self._begun[each] = self._threads.submit(self._ask, each, file)
            self._waiting.clear()

    def result(self, piece: Piece, tokenizer: Tokenizer) -> Tokenised:
        """A piece's tokens, once. Raises `UnmaskError` if its process has died."""
        if piece not in self._begun:
            return encode_piece(piece, tokenizer)
        file = self._begun.pop(piece).result()
        content = file.read_bytes()
        file.unlink()
        return _from_stream(content)

    def forget(self) -> None:
        """Nobody will ask for what has begun."""
        for future in self._begun.values():
            future.cancel()
        self._begun.clear()
        self._waiting.clear()

    def _ask(self, piece: Piece, file: Path) -> Path:
        worker = self._idle.get()
        try:
            _answer(worker, piece, file)
        except UnmaskError as error:
            self._failure = error
            raise
        finally:
            self._idle.put(worker)  # a dead one, too: whoever waits for it must not wait for ever
        return file


def _processors() -> int:
    """The processors that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tell(worker: subprocess.Popen[bytes], message: dict[str, object]) -> None:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: there will be no answer, which is told below
        worker.stdin.write(json.dumps(message).encode() + b"\n")
        worker.stdin.flush()


def _answer(worker: subprocess.Popen[bytes], piece: Piece, file: Path) -> None:
    assert worker.stdout is not None
    _tell(worker, {"piece": asdict(piece), "to": str(file)})
    answer = worker.stdout.readline()
    if answer.startswith(_FAILED):
        raise UnmaskError(json.loads(answer.removeprefix(_FAILED)))
    if answer != _DONE:
        raise UnmaskError(
            f"a worker process ended ({worker.wait()}) — was there too little memory, or no room on the disk? Run the"
            " same command again: it goes on where it was; with processes=1 it needs the least"
        )


def _to_stream(done: Tokenised) -> memoryview:
    """One row of lists: the arrays have lengths of their own."""
    ids = np.frombuffer(json.dumps(done.ids).encode("utf-8", "surrogatepass"), np.uint8)
    values = {field.name: getattr(done, field.name) for field in fields(done)} | {"ids": ids}
    values["word_starts"] = done.word_starts.view(np.uint8)
    columns = {
        name: pa.LargeListArray.from_arrays(flat(np.array([0, len(array)])), flat(array))
        for name, array in values.items()
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _from_stream(content: bytes) -> Tokenised:
    batch = pa.ipc.open_stream(content).read_next_batch()
    arrays = {name: numbers(batch.column(name).values) for name in batch.schema.names}
    ids = json.loads(arrays.pop("ids").tobytes().decode("utf-8", "surrogatepass"))
    arrays["word_starts"] = arrays["word_starts"].view(np.bool_)
    return Tokenised(ids=ids, **arrays)


def main() -> None:
    """Answer the pieces that come on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted, and ends us
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing but answers may stand between answers
    job = json.loads(source.readline())
    tokenizer = load_tokenizer(Path(job["tokenizer"]))
    for number, line in enumerate(source, 1):
        asked = json.loads(line)
        try:
            Path(asked["to"]).write_bytes(_to_stream(encode_piece(Piece(**asked["piece"]), tokenizer)))
            sink.write(_DONE)
        except UnmaskError as error:
            sink.write(_FAILED + json.dumps(str(error)).encode() + b"\n")
        sink.flush()
        if number % REST == 0:
            give_back()


if __name__ == "__main__":
    main()
