"""``unmask verify-resume RECIPE CORPUS``: is a stopped run the same run, with your settings on your machine?

Takes the options of ``unmask pretrain RECIPE``, and ``--like RUN`` takes them from a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from unmask.commands.flags import duration
from unmask.commands.pretrain import SIZE, per_recipe
from unmask.commands.watch import Watch

HELP = "Kill and resume a short run with your settings, and certify that nothing differs."


def make(words: Sequence[str]) -> App:
    """The verb with a sub-command a recipe; with ``--like``, another run's settings are the defaults."""
    return per_recipe(words, "verify-resume", HELP, _verb, "--like runs/{0} --out runs/{0}")


def _verb(name: str) -> Any:
    """The command of one recipe."""

    def verify_resume(
        corpus: Annotated[Path, Parameter(help="folder made by `unmask corpus`")],
        /,
        *,
        out: Annotated[
            Path, Parameter(help="a run, whose page then shows the certificate, or a file to be written")
        ] = Path("resume.json"),
        size: Annotated[str, Parameter(help="tiny, mini, small, medium, base or large")] = SIZE,
        source: Annotated[
            Path | None, Parameter(name="--from", help="a model folder to go on from (same tokenizer)")
        ] = None,
        seconds: Annotated[
            float,
            Parameter(help="about how long it may take", converter=duration, show_default=lambda _: "90s"),
        ] = 90.0,
        kills: Annotated[int, Parameter(help="how often the run is killed")] = 3,
        instants: Annotated[int, Parameter(help="seed of the instants of the kills")] = 0,
        like: Annotated[Path | None, Parameter(help="a run whose settings are the defaults here")] = None,
        recipe: Any,
        training: Any,
    ) -> None:
        from unmask.errors import UnmaskError
        from unmask.machine import verify_resume as verify

        verify.place(out)
        with Watch() as watch:
            certificate = verify.verify_resume(
                recipe,
                corpus,
                size=size,
                training=training,
                source=source,
                seconds=seconds,
                kills=kills,
                seed=instants,
                say=watch.say,
            )
            path = verify.store(certificate, out)
            watch.say(f"the certificate is {path}")
        print(verify.words(certificate))
        if not certificate["holds"]:
            raise UnmaskError(
                f"a run with these settings is not the same run after a stop here ({path}) — the same bytes were "
                "expected — see docs/trust.md for what can differ"
            )

    return verify_resume
