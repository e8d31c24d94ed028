"""The report in a real browser: pictures have a size, nothing leaves the window, nothing is complained of."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from loadtest.report import write
from tests.loadtest.recordings import monday

TIMEOUT_S = 60
WIDTHS = (360, 1200)
# A page around the report, since a headless Chromium has no window as narrow as a phone.
AROUND = """<!DOCTYPE html><body><script>
const report = REPORT, found = [];
for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => {
    const page = frame.contentDocument, box = one => one.getBoundingClientRect();
    const inside = "h1, h2, p, figure, svg, dl, dd, .scroll";
    found.push({
      width,
      pictures: [...page.querySelectorAll("svg")].map(box).map(({width, height}) => ({width, height})),
      overflow: page.documentElement.scrollWidth - width,
      outside: [...page.querySelectorAll(inside)].filter(one => box(one).right > width + 1)
        .map(one => one.outerHTML),
      lettersHigh: Math.min(...[...page.querySelectorAll("svg text")].map(one => {
        const turned = one.getAttribute("transform")?.includes("rotate(-90");
        return turned ? box(one).width : box(one).height;
      })),
    });
    if (found.length < WIDTHS.length) return;
    document.body.innerHTML = "<pre id=found></pre>";
    document.body.firstChild.textContent = JSON.stringify(found);
  };
  frame.srcdoc = report;
  document.body.append(frame);
}
</script>"""


def test_all_pictures_fit_a_phone_and_a_desk_without_a_complaint(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    monday().write(tmp_path)
    write(tmp_path)
    report = json.dumps((tmp_path / "report.html").read_text(encoding="utf-8")).replace("</", "<\\/")
    around = AROUND.replace("WIDTHS", json.dumps(WIDTHS)).replace("REPORT", report)
    (tmp_path / "around.html").write_text(around, encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    telling = ("--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom")
    command = (chromium, *options, *telling, f"--user-data-dir={tmp_path / 'profile'}")
    url = (tmp_path / "around.html").as_uri()
    done = subprocess.run((*command, url), capture_output=True, text=True, timeout=TIMEOUT_S, check=True)

    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    shown = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert shown is not None
    found = json.loads(html.unescape(shown[1]))
    assert sorted(one["width"] for one in found) == sorted(WIDTHS)
    for one in found:
        assert len(one["pictures"]) == 9
        assert all(300 < picture["width"] < one["width"] for picture in one["pictures"])
        assert all(picture["height"] > 150 for picture in one["pictures"])
        assert one["overflow"] <= 0
        assert one["outside"] == []
        assert one["lettersHigh"] > 7
