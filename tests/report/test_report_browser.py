"""The page in a real browser: it draws, it obeys its own policy, and it fits a phone."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from unmask.report import report
from unmask.report.sections import MAKERS, Section
from unmask.report.sections.form import Viewer, Watched

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the page was not opened in a browser"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr --virtual-time-budget=8000"
).split()


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what the console said."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, env={**os.environ, "TZ": "UTC"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_charts_draw_under_the_policy(folders: Callable[[str], Path], tmp_path: Path) -> None:
    page = report([folders("quickstart")], tmp_path / "report.html")
    document, console = browse(page, tmp_path / "profile")
    assert console == []  # no error, no violation of the policy, no warning
    boxes = re.findall(r'<div class="chart" id="([^"]+)"([^>]*)>', document)
    assert len(boxes) >= 12
    assert all('data-drawn="yes"' in rest for _, rest in boxes), boxes
    live = re.findall(r'<div class="live[^>]*>.*?<svg[^>]*>', document)
    assert len(live) == len(boxes)


def test_a_blocked_script_is_told(tmp_path: Path, folders: Callable[[str], Path]) -> None:
    """The negative of the test above: a script that the policy does not name leaves a line in the console."""
    page = report([folders("finetune")], tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    page.write_text(
        text.replace("</body>", '<script>document.title = "run"</script></body>'), encoding="utf-8"
    )
    document, console = browse(page, tmp_path / "profile")
    assert "<title>run</title>" not in document
    assert any("Content Security Policy" in line for line in console)


def test_fits_a_phone(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """390 pixels wide, in a frame: the page says its own width in its title."""
    report([folders("quickstart")], tmp_path / "report.html")
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<iframe id="phone" src="report.html" width="390" height="3000" style="border:0"></iframe><script>'
        'const phone = document.getElementById("phone"); phone.onload = () => setTimeout(() => {'
        "const root = phone.contentDocument.documentElement;"
        "document.title = `${root.scrollWidth} of ${root.clientWidth}`; }, 3000);</script>"
    )
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *FLAGS,
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        frame.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    title = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert title, done.stdout[-2000:] + done.stderr[-2000:]
    assert title[1] == title[2] == "390"


def test_a_slider_shows_one_moment_of_every_sentence(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = ["step 0", "step 1", "step 12"]
    guesses = [[(f"word{n}", 0.5), ("</script>", 0.0001)] for n in range(3)]
    viewer = Viewer(moments, [Watched("the [MASK] sleeps", guesses), Watched("a [MASK]", guesses)], "Watched")
    monkeypatch.setitem(MAKERS, "measured", lambda run, value: Section("Seen", "", viewers=[viewer]))
    run = tmp_path / "run"
    shutil.copytree(folders("pretrain"), run)
    (run / "evaluation" / "measured.json").write_text("{}")
    page = report([run], tmp_path / "report.html")
    still = page.read_text(encoding="utf-8")
    assert all(still.count(f'<tr><th scope="row">{moment}</th>') == 2 for moment in moments)
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    assert re.search(
        r'<input type="range" max="2" aria-label="moment of the training"><output>step 12</output>', document
    )
    shown = re.findall(r"<tr( hidden=\"\")?><th scope=\"row\">(step \d+)</th>", document)
    assert shown == [(' hidden=""', "step 0"), (' hidden=""', "step 1"), ("", "step 12")] * 2
