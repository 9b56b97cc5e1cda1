"""Where the lines of metrics.jsonl go too, for those who asked: TensorBoard and Trackio, each an extra.

metrics.jsonl stays the source of every figure; a sink gets the numbers of a line under flat names ("terms/mlm") and
nothing is read back from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError

Sink = Callable[[dict[str, Any]], None]


def check_sinks(names: Sequence[str]) -> None:
    """Raises UnmaskError, with the install command, for a sink whose library is not there."""
    for name in names:
        if find_spec(name) is None:
            raise UnmaskError(
                f"--log {name}: {name} is not installed — it is an extra — pip install 'unmask[{name}]'"
            )


@contextmanager
def opened(
    names: Sequence[str],
    folder: Path,
    settings: dict[str, Any],
    start: int,
    watch: Callable[[dict[str, Any]], None],
) -> Iterator[list[Sink]]:
    """The sinks of a run whose `start` steps are done.

    TensorBoard withdraws what an earlier sitting wrote of later steps; Trackio, which cannot, has those steps twice.
    One that cannot be closed, or opened again, is told of, and ends nothing.
    """

    def closed(name: str, close: Callable[[], object]) -> None:
        try:
            close()
        except Exception as error:  # of another's library: a full disk, a service that is away
            watch({"event": "say", "text": f"{name} could not be closed ({error!r}); metrics.jsonl has all"})

    @contextmanager
    def begun(name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # as above; a run that has just begun says so at once
            if not start:
                raise UnmaskError(
                    f"{name} could not be opened ({error!r}) — a place for the lines was expected — mend that, or "
                    "leave it out of --log"
                ) from error
            watch(
                {
                    "event": "say",
                    "text": f"{name} could not be opened ({error!r}); the run goes on without it",
                }
            )

    with ExitStack() as stack:
        sinks: list[Sink] = []
        if "tensorboard" in names:
            from torch.utils.tensorboard import SummaryWriter

            def board(writer: SummaryWriter, line: dict[str, Any]) -> None:
                for name, value in numbers(line).items():
                    writer.add_scalar(name, value, line["step"])

            with begun("tensorboard"):
                writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
                stack.callback(closed, "tensorboard", writer.close)
                sinks.append(partial(board, writer))
        if "trackio" in names:
            import trackio

            with begun("trackio"):
                trackio.init(project="unmask", name=folder.name, config=settings, resume="allow", embed=False)
                stack.callback(closed, "trackio", trackio.finish)
                sinks.append(lambda line: trackio.log(numbers(line), step=line["step"]))
        yield sinks


def numbers(line: dict[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of a line under flat names; lists and the step itself are left out."""
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and before + name != "step":
            found[before + name] = float(value)
    return found
