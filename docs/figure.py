"""Draws the figures of README and docs from finished runs.

    python docs/figure.py runs/quickstart-en                         docs/figure.svg, the README's
    python docs/figure.py runs/*/yardstick/glue/glue.json            docs/glue.svg, the chart of a suite
    python docs/figure.py growth.json                                docs/growth.svg, of benchmarks.growth

The same drawings as on the page, in the page's light colours, on a ground of their own: they read on dark pages too.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import altair as alt

from unmask.report.figures import data_of, finish, ranges
from unmask.report.page import static_svg
from unmask.report.sections.glue import relation
from unmask.report.verdict import headline, stored

HERE = Path(__file__).parent
FONT = 'font-family="system-ui, sans-serif"'
LEGEND = (
    '<tspan fill="#0b62a8">● pre-trained</tspan>  <tspan fill="#b85a00">◆ from scratch</tspan>  | majority'
)


def framed(spec: dict[str, object], name: str, lines: list[str], legend: str) -> str:
    """A drawing of the page as one SVG, lines of text over it."""
    css = (HERE.parent / "unmask/report/page.css").read_text(encoding="utf-8")
    colours = dict(reversed(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", css)))  # the first stands: light
    inner = re.sub(
        r"var\(--([a-z0-9-]+)\)", lambda m: colours.get(m[1], "#555555"), str(static_svg(spec, name))
    )
    # Every drawing has both, so the search finds them.
    width, height = (float(re.search(rf'{side}="([0-9.]+)"', inner)[1]) for side in ("width", "height"))  # type: ignore[index]
    inner = inner.replace(
        "<svg ", '<svg overflow="visible" ', 1
    )  # another font may need more room for the names
    title = "".join(
        f'<text x="20" y="{32 + 21 * n}" {FONT} font-size="15" font-weight="600" fill="#1d232b">{line.strip()}</text>'
        for n, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 62:.0f} {height + 112:.0f}">'
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>{title}'
        f'<text x="20" y="77" {FONT} font-size="13" fill="#5c6672" xml:space="preserve">{legend}</text>'
        f'<g transform="translate(46 92)">{inner}</g></svg>\n'
    )


def figure(results: Path) -> str:
    """The ranges of a results.json with its headline."""
    rows = stored(json.loads(results.read_text(encoding="utf-8"))["tasks"])
    spec = ranges(rows)
    if spec is None:
        raise SystemExit(f"{results} holds no scores")
    return framed(spec, "readme", (headline(rows) or "").split(";"), LEGEND)


def chart(suites: list[Path]) -> str:
    """Models in relation to people, a dot a task, their mean a line: the chart of one or several runs' suite JSONs."""
    runs = [(path.parents[2].name, json.loads(path.read_text(encoding="utf-8"))) for path in suites]
    spec = relation(runs)
    if spec is None:
        raise SystemExit(f"{', '.join(map(str, suites))} hold no task with a human score")
    tasks = [t["name"] for t in runs[0][1]["tasks"]]
    lines = [f"{' and '.join(name for name, _ in runs)} beside published models, in relation to people"]
    return framed(spec, "suite", lines, f"a dot a task ({', '.join(tasks)}); a line their mean")


def growth(found: Path) -> str:
    """Tokens a second by length, a line a size, both axes logarithmic: the JSON of `benchmarks.growth`."""
    value = json.loads(found.read_text(encoding="utf-8"))
    cells = [{k: c[k] for k in ("size", "length", "tokens_per_second")} for c in value["bodies"]]
    lengths = sorted({c["length"] for c in cells})
    base = alt.Chart(data_of(cells)).encode(
        x=alt.X(
            "length:Q",
            title="tokens a row",
            scale=alt.Scale(type="log", base=2, domain=[lengths[0] * 0.9, lengths[-1] * 1.7]),
            axis=alt.Axis(values=lengths, format=",d", grid=False),
        ),
        y=alt.Y("tokens_per_second:Q", title="tokens a second", scale=alt.Scale(type="log")),
        detail="size:N",
    )
    ends = base.transform_filter(alt.datum.length == lengths[-1])
    names = ends.mark_text(align="left", dx=9, fontSize=13, color="var(--ink)").encode(text="size:N")
    lines = base.mark_line(color="var(--pretrained)", strokeWidth=2)
    spec = finish(
        alt.layer(lines, base.mark_point(filled=True, size=46, color="var(--pretrained)"), names),
        "Tokens a second of pre-training by size and length",
        340,
    )
    machine = value["machine"]
    words = [f"Pre-training `{value['recipe']}` on {machine['cores']} cores ({machine['processor']})"]
    return framed(spec, "growth", words, f"{value['precision']}, vocabulary 8,000, 2,048 tokens a step")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    if given.suffix == ".json":
        drawn = growth(given) if given.stem == "growth" else chart([Path(path) for path in sys.argv[1:]])
        target = HERE / f"{given.stem}.svg"
    else:
        target, drawn = HERE / "figure.svg", figure(given / "results.json")
    target.write_text(drawn, encoding="utf-8")
    print(target)
