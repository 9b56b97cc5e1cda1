"""The page: one HTML file that opens anywhere, offline, and runs nothing that it did not bring along.

Markup is escaped by jinja2; chart data lie in a JSON block whose every `<` is written \\u003c; a static drawing
stands where scripts are off. The Content-Security-Policy allows the two scripts and the one style sheet of this
very file, by their hashes, and nothing else: no eval (Vega's interpreter reads the expressions), no request.
`Chart.to_html` is not used: it leaves `</script>` in a label alive.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import vl_convert
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from unmask.report import figures
from unmask.report.figures import Spec
from unmask.report.read import Json, Material, Run, gather
from unmask.report.sections import MAKERS, kind, sections
from unmask.report.table import difference_words, score_words
from unmask.report.text import amount, flat, number, short
from unmask.report.verdict import Row, headline, judge, paired, same, stored
from unmask.settings import show_seconds

_HERE = Path(__file__).parent
_SVG = "http://www.w3.org/2000/svg"
_DRAWN = frozenset(
    ["svg", "g", "path", "text", "tspan", "rect", "line", "circle", "defs", "clipPath", "title"]
)
_KEPT = frozenset(
    ["class", "role", "aria-label", "aria-roledescription", "aria-hidden", "id", "clip-path", "viewBox"]
)
_KEPT_DRAWING = re.compile(
    r"^(fill|stroke|font|opacity|text|transform|width|height|x|y|d|r|cx|cy|[xy][12]|dx|dy)(-[a-z-]+)?$"
)


@dataclass(frozen=True)
class Chart:
    id: str
    spec: Spec

    @property
    def drawing(self) -> Markup:
        """The chart as SVG, for a page whose scripts are off."""
        return static_svg(self.spec, self.id)


def report(runs: list[Path], out: Path) -> Path:
    """Writes one self-contained page about run folders, and returns its path.

    Several runs are compared: pre-trained beside from-scratch of the same task. A quickstart folder expands to
    its parts. `out` is a file, or a folder that gets report.html. Errors: a folder that is no run.
    """
    material = gather(runs)
    path = out / "report.html" if out.is_dir() else out
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(html(material), encoding="utf-8")
    aside.replace(path)
    return path


def html(material: Material) -> str:
    """The page of gathered runs; the same material, the same bytes."""
    parts = [run.folder for run in material.runs if run.verb == "quickstart"]
    own = [run for run in material.tasks if not any(folder in run.folder.parents for folder in parts)]
    rows = [*stored(material.results or []), *paired(own if material.results is not None else material.tasks)]
    charts: dict[str, Chart] = {}

    def chart(name: str, spec: Spec | None) -> Chart | None:
        if spec is None:
            return None
        charts[name] = Chart(name, spec)
        return charts[name]

    style, script, bundle = _asset("page.css"), _asset("page.js"), _bundle()
    compared = {
        "ranges": [
            chart(f"ranges-{i}", figures.ranges([row for row in rows if row.digits == digits]))
            for i, digits in enumerate(sorted({row.digits for row in rows}))
        ],
        "tasks": [
            {
                "name": name,
                "loss": chart(f"task-{i}-loss", figures.learning(arms, "loss")),
                "dev": chart(f"task-{i}-dev", figures.learning(arms, _metric(arms))),
                "metric": _metric(arms),
            }
            for i, (name, arms) in enumerate(_by_task(material.tasks, [row.task for row in rows]).items())
        ],
        "losses": [chart(f"loss-{x}", figures.loss(material.bodies, x)) for x in ("seconds", "tokens")],
        "accuracy": chart("accuracy", figures.accuracy(material.bodies)),
        "terms": [
            (term, chart(f"term-{i}", figures.loss(material.bodies, "tokens", term)))
            for i, term in enumerate(_other_terms(material.bodies))
        ],
    }
    studied = [
        (
            section,
            [
                (figure.caption, chart(f"study-{i}-{k}", figure.spec))
                for k, figure in enumerate(section.figures)
            ],
        )
        for i, section in enumerate(sections(_all(material)))
    ]
    data = json.dumps({name: one.spec for name, one in charts.items()}, ensure_ascii=False, allow_nan=False)
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=headline(rows) or _body_headline(material) or "Nothing to show yet",
            rows=[(row, judge(row)) for row in rows],
            figures=compared,
            studied=studied,
            bodies=[_summary(run, i) for i, run in enumerate(material.bodies)],
            runs=material.runs,
            parts=[
                run
                for run in material.bodies + material.tasks
                if not any(run is one for one in material.runs)
            ],
            fills=material.fills,
            ledger=material.ledger,
            notes=material.notes + _unfinished(material.runs),
            differing=_differing(material.runs),
            others=_others(material),
            data=Markup(data),
            style=Markup(style),
            script=Markup(script),
            bundle=Markup(bundle) if charts else None,
            policy=_policy([style], [bundle, script] if charts else []),
        )
    )


def _policy(styles: Iterable[str], scripts: Iterable[str]) -> str:
    """A Content-Security-Policy that names what may run by its hash."""

    def hashes(texts: Iterable[str]) -> str:
        digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and the interpreter as one script; a second to make, the same for every page."""
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": number, "amount": amount, "seconds": show_seconds, "flat": flat, "short": short,
        "score": score_words, "pieces": pieces, "when": when, "cell": cell,
    }  # fmt: skip
    environment.globals |= {"difference": difference_words}
    return environment


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def static_svg(spec: Spec, prefix: str, width: int = 680) -> Markup:
    """A specification drawn without a script, with nothing in it but shapes and text, and ids of its own."""
    still = [
        layer for layer in spec["layer"] if "condition" not in layer["encoding"].get("opacity", {})
    ]  # no pointer
    spec = {**spec, "width": width, "layer": still, "params": []}
    text = vl_convert.vegalite_to_svg(json.dumps(spec), allowed_base_urls=[])
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.removeprefix(f"{{{_SVG}}}") not in _DRAWN:
                parent.remove(child)
        for key in list(parent.attrib):
            if key not in _KEPT and not _KEPT_DRAWING.match(key):
                del parent.attrib[key]
        if "id" in parent.attrib:
            parent.set("id", f"{prefix}-{parent.get('id')}")
        if "clip-path" in parent.attrib:
            parent.set("clip-path", parent.get("clip-path", "").replace("#", f"#{prefix}-"))
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def pieces(text: str) -> list[tuple[str, bool]]:
    """A sentence cut at its blanks: (text, is a blank)."""
    parts = re.split(r"(\[MASK\]|<mask>)", text)
    return [(part, i % 2 == 1) for i, part in enumerate(parts) if part]


def cell(value: Any) -> str:
    """A cell of a section's table: text in at most 300 characters, a number as a person writes it."""
    return short(value, 300) if isinstance(value, str) else number(value)


def when(started: Any) -> str:
    """2026-11-24T14:00:00.123 as 2026-11-24 14:00"""
    return str(started).replace("T", " ")[:16]


def _metric(arms: Sequence[Run]) -> str:
    """What the held-out curve of a task shows: its metric, or the held-out loss."""
    named = next(
        (
            str(run.evaluations["finetune"]["metric"])
            for run in arms
            if run.evaluations.get("finetune", {}).get("metric")
        ),
        "",
    )
    return named if any(named in line for run in arms for line in run.heldout) else "dev loss"


def _by_task(runs: Sequence[Run], order: Sequence[str]) -> dict[str, list[Run]]:
    """The arms of each task, by rows and network, that have a curve; in the order of the table."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(same(run), []).append(run)
    kinds = [arms[0].task for arms in groups.values()]
    out: dict[str, list[Run]] = {name: [] for name in order}
    for arms in groups.values():
        first = next((run for run in arms if run.start != "scratch"), arms[0])
        out[first.task if kinds.count(first.task) == 1 else f"{first.task} ({first.name})"] = arms
    return {name: arms for name, arms in out.items() if any(run.train or run.heldout for run in arms)}


def _other_terms(bodies: Sequence[Run]) -> list[str]:
    terms = (term for run in bodies for line in run.train[:1] for term in line.get("terms") or {})
    return [term for term in dict.fromkeys(terms) if term != "mlm"]


def _summary(run: Run, index: int) -> Json:
    """What a body cost and reached: the last lines of its metrics."""
    last: Json = run.train[-1] if run.train else {}
    held: Json = run.heldout[-1] if run.heldout else {}
    unigram = (run.about.get("lines") or {}).get("unigram")
    mlm = held.get("mlm", held.get("loss"))
    settings = run.about.get("settings")
    recipe = settings.get("recipe") if isinstance(settings, dict) else None
    below = unigram - mlm if isinstance(unigram, int | float) and isinstance(mlm, int | float) else None
    return {
        "name": run.name,
        "colour": index % 6 + 1,
        "recipe": recipe.get("name") if isinstance(recipe, dict) else recipe,
        "parameters": run.about.get("parameters"),
        "corpus": run.about.get("corpus") or {},
        "seconds": last.get("seconds", held.get("seconds")),
        "tokens": last.get("tokens", held.get("tokens")),
        "speed": _speed(last),
        "mlm": mlm,
        "accuracy": held.get("accuracy"),
        "below": below,
    }


def _speed(last: Json) -> float | None:
    """Tokens a second over the whole run."""
    tokens, seconds = last.get("tokens"), last.get("seconds")
    if isinstance(tokens, int | float) and isinstance(seconds, int | float) and seconds > 0:
        return tokens / seconds
    return None


def _body_headline(material: Material) -> str | None:
    """The sentence over a page with no task on it."""
    found = [
        one for one in map(_summary, material.bodies, range(len(material.bodies))) if one["mlm"] is not None
    ]
    if not found:
        return "Training has begun; nothing was measured on held-out text yet" if _begun(material) else None
    best = min(found, key=lambda one: float(one["mlm"]))
    words = f"{best['name']} reads held-out text at a masked loss of {best['mlm']:.2f}"
    if best["below"] is None:
        return words
    side = "below" if best["below"] >= 0 else "above"
    return f"{words}, {abs(best['below']):.2f} nats {side} what token frequencies alone give"


def _begun(material: Material) -> bool:
    return any(run.train for run in material.bodies + material.tasks)


def _unfinished(runs: Sequence[Run]) -> list[str]:
    return [
        f"{run.name} has not finished: the page shows what it wrote so far"
        for run in runs
        if not run.about.get("finished")
    ]


def _differing(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The settings in which the runs differ: (name, a value a run)."""
    settings = [flat(run.about.get("settings") or {}) for run in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    lines = [(name, [one.get(name, "–") for one in settings]) for name in names]
    return [(name, values) for name, values in lines if len(set(values)) > 1]


def _others(material: Material) -> list[tuple[str, dict[str, Any]]]:
    """Stored evaluations that have no section of their own."""
    return [
        (f"{run.name} · {name}", flat(value))
        for run in _all(material)
        for name, value in run.evaluations.items()
        if name not in ("finetune", "fills") and kind(name) not in MAKERS and isinstance(value, dict)
    ]


def _all(material: Material) -> list[Run]:
    """Every run once: those that were named, then their parts."""
    return list({id(run): run for run in material.runs + material.bodies + material.tasks}.values())


__all__ = ["Row", "html", "report", "static_svg"]
