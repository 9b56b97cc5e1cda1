"""Draws the README's figure from a finished quickstart: ``python docs/figure.py runs/quickstart-zh``.

The same drawing as on the page, in the page's light colours, on a ground of its own: it reads on dark pages too.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from unmask.report.figures import ranges
from unmask.report.page import static_svg
from unmask.report.verdict import headline, stored

HERE = Path(__file__).parent
LEGEND = (
    '<tspan fill="#0b62a8">● pre-trained</tspan>  <tspan fill="#b85a00">◆ from scratch</tspan>  | majority'
)


def figure(results: Path) -> str:
    """The ranges of a results.json as one SVG with its headline."""
    rows = stored(json.loads(results.read_text(encoding="utf-8"))["tasks"])
    spec = ranges(rows)
    if spec is None:
        raise SystemExit(f"{results} holds no scores")
    css = (HERE.parent / "unmask/report/page.css").read_text(encoding="utf-8")
    colours = dict(reversed(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", css)))  # the first stands: light
    inner = re.sub(
        r"var\(--([a-z0-9-]+)\)", lambda m: colours.get(m[1], "#555555"), str(static_svg(spec, "readme"))
    )
    # Every drawing has both, so the search finds them.
    width, height = (float(re.search(rf'{side}="([0-9.]+)"', inner)[1]) for side in ("width", "height"))  # type: ignore[index]
    inner = inner.replace(
        "<svg ", '<svg overflow="visible" ', 1
    )  # another font may need more room for the names
    font = 'font-family="system-ui, sans-serif"'
    title = "".join(
        f'<text x="20" y="{32 + 21 * n}" {font} font-size="15" font-weight="600" fill="#1d232b">{line.strip()}</text>'
        for n, line in enumerate((headline(rows) or "").split(";"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 62:.0f} {height + 112:.0f}">'
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>{title}'
        f'<text x="20" y="77" {font} font-size="13" fill="#5c6672" xml:space="preserve">{LEGEND}</text>'
        f'<g transform="translate(46 92)">{inner}</g></svg>\n'
    )


if __name__ == "__main__":
    target = HERE / "figure.svg"
    target.write_text(figure(Path(sys.argv[1]) / "results.json"), encoding="utf-8")
    print(target)
