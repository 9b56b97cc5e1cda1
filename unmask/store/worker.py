"""A worker process of a build, `python -m unmask.store.worker`, and the other end of its pipes.

A worker is a process of our own, started anew: it never imports the caller's `__main__`, so a build may be called
from a notebook, from a script without a guard or from standard input, and nothing is pickled. The first line of
its input names the tokenizer; every further line is a piece of the gathered text, and is answered by a line with a
number and so many bytes of an Arrow stream. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from unmask.errors import UnmaskError
from unmask.store.encode import Piece, encode_piece
from unmask.store.read import numbers
from unmask.store.write import Tokenised, flat
from unmask.tokens import load_tokenizer

_AHEAD = 3  # pieces a process that may wait: memory holds this many results


@contextmanager
def workers(
    tokenizer: Path, language: str, count: int
) -> Iterator[Callable[[list[Piece]], Iterator[Tokenised]]]:
    """Start `count` processes; what is yielded encodes pieces in them and gives the results in their order.

    Raises `UnmaskError` if a process dies.
    """
    search = os.pathsep.join(map(os.path.abspath, sys.path))  # they import what we import
    # Large arrays come and go with every piece: glibc keeps their memory, which spares a fifth of the time.
    kept = {f"MALLOC_{name}_THRESHOLD_": str(1 << 30) for name in ("MMAP", "TRIM")}
    environment = {**kept, **os.environ, "PYTHONPATH": search, "TOKENIZERS_PARALLELISM": "false"}
    started: list[subprocess.Popen[bytes]] = []
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    waiting: deque[Future[Tokenised]] = deque()

    def ask(piece: Piece) -> Tokenised:
        worker = idle.get()
        try:
            return _answer(worker, piece)
        finally:
            idle.put(worker)  # a dead one, too: whoever waits for it must not wait for ever

    def encode(pieces: list[Piece]) -> Iterator[Tokenised]:
        for piece in pieces:
            waiting.append(threads.submit(ask, piece))
            if len(waiting) >= count * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    threads = ThreadPoolExecutor(count)  # one waits for each process
    try:
        for _ in range(count):
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "unmask.store.worker"],  # -P: the working folder is no place for modules
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            )  # fmt: skip
            started.append(worker)
            _tell(worker, {"tokenizer": str(tokenizer), "language": language})
            idle.put(worker)
        yield encode
    finally:
        for future in waiting:
            future.cancel()
        for worker in started:
            worker.terminate()  # idle, unless something went wrong; then what it has in hand is not wanted
        threads.shutdown(wait=True, cancel_futures=True)
        for worker in started:
            with contextlib.suppress(BrokenPipeError):
                worker.communicate()


def _tell(worker: subprocess.Popen[bytes], message: dict[str, object]) -> None:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: there will be no answer, which is told below
        worker.stdin.write(json.dumps(message).encode() + b"\n")
        worker.stdin.flush()


def _answer(worker: subprocess.Popen[bytes], piece: Piece) -> Tokenised:
    assert worker.stdout is not None
    _tell(worker, {"file": piece.file, "batch": piece.batch})
    header = worker.stdout.readline()
    if header.endswith(b"\n"):
        content = worker.stdout.read(int(header))
        if len(content) == int(header):
            return _from_stream(content)
    raise UnmaskError(
        f"a worker process ended ({worker.wait()}) — was there too little memory? Run the same command again:"
        " it goes on where it was; with processes=1 it needs the least"
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
    tokenizer = load_tokenizer(Path(job["tokenizer"]), job["language"])
    for line in source:
        content = _to_stream(encode_piece(Piece(**json.loads(line)), tokenizer, tokenizer.language))
        sink.write(b"%d\n" % len(content))
        sink.write(content)
        sink.flush()


if __name__ == "__main__":
    main()
