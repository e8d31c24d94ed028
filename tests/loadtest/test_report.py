"""What the report says, and that the page stands alone and lets nothing in that the run brought."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from loadtest.recording import (
    Ceiling,
    DoneAct,
    NotARecording,
    Recording,
    ServerSample,
    ThresholdResult,
    WrongVerdict,
)
from loadtest.report import numbers, write
from loadtest.report.bench_chart import Bar, draw_bench
from loadtest.report.facts import Facts, gather
from loadtest.report.page import page
from loadtest.report.summary import summary
from loadtest.report.timeline import Timeline
from loadtest.report.writing import run
from tests.loadtest.recordings import BEGAN_AT, day, empty, held, monday, one_second

HOSTILE = '<script>alert("1")</script>&$\\alpha$|`*'
SVG = "{http://www.w3.org/2000/svg}"
# Elements that nothing may come after without having been closed.
_VOID = {"meta", "link", "br", "img"}


class _Page(HTMLParser):
    """Checks that each element is closed in its turn, and notes elements, identifiers and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.identifiers: Counter[str] = Counter()
        self.addresses: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.identifiers[value or ""] += 1
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value or "")


def report(recording: Recording, folder: Path) -> tuple[str, str]:
    """Return the page and the summary of a recording."""
    recording.write(folder)
    write(folder)
    written = (folder / "report.html", folder / "summary.md")
    return written[0].read_text(encoding="utf-8"), written[1].read_text(encoding="utf-8")


def words(page: str) -> str:
    """Return the text of a page, without its elements."""
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)).split())


@pytest.mark.parametrize("make", [monday, day, one_second, empty])
def test_a_page_is_well_formed_and_stands_alone(make: Callable[[], Recording], tmp_path: Path) -> None:
    text, _ = report(make(), tmp_path)
    parsed = _Page(text)
    assert parsed.elements["script"] == parsed.elements["img"] == parsed.elements["link"] == 0
    assert all(address.startswith("#") for address in parsed.addresses)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert [name for name, count in parsed.identifiers.items() if count > 1] == []
    assert len(text) < 1_000_000
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        picture = ET.fromstring(svg)  # noqa: S314 - our own
        assert picture.get("aria-label")


def test_what_a_run_brings_is_text_and_nothing_else(tmp_path: Path) -> None:
    recording = monday()
    recording.plan = replace(recording.plan, scenario=HOSTILE, about=HOSTILE, flavour=HOSTILE)
    recording.machine[HOSTILE] = HOSTILE
    recording.wrong = [WrongVerdict(HOSTILE, HOSTILE, HOSTILE, HOSTILE)]
    recording.acts = [DoneAct(HOSTILE, BEGAN_AT + 3, 0.1, HOSTILE)]
    recording.servers = [ServerSample(HOSTILE, BEGAN_AT + at, at, 1.0, 1) for at in range(3)]
    recording.thresholds = [ThresholdResult(HOSTILE, 1, is_floor=True, value=0, is_met=False)]
    recording.limited_by = f"{HOSTILE}: {HOSTILE}"
    for one in recording.seconds.values():
        one.errors, one.verdicts = Counter({HOSTILE: 1}), Counter({HOSTILE: 1})
    text, short = report(recording, tmp_path)
    assert _Page(text).elements["script"] == 0
    assert words(text).count(HOSTILE) > 10
    assert "<script" not in short
    assert not re.search(r"(?<!\\)[`*]script", short)


@pytest.fixture(scope="module")
def monday_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(monday(), tmp_path_factory.mktemp("monday"))[0]


def test_a_page_shows_what_was_planned_and_what_came_of_it(monday_page: str) -> None:
    shown = words(monday_page)
    for fact in (
        "monday-0830 did not hold: honest p99 4 830 ms, allowed 150 ms; wrong 2, allowed 0;",
        "The server was at its limit: verifier-1 used 1.0 of 2 cores while scans waited for it.",
        "A first Monday: ten times the arrivals",
        "honest_p99_ms 4 830 ms at most 150 ms missed",
        "per_s 1 013 a second at least 900 a second met",
        "missed by the server 200 0.35 %",
        "missed by the generator 3 < 0.01 %",
        "late 31 0.05 %",
        "held back 6 000 10.53 %",
        "retries 100",
        "DEADLINE_EXCEEDED 75",
        "s-4711 expired EXPIRED GREEN",
        "freeze-verifier 25 s 0.015 s done",
        "generator-2 0.71 8",
        "is 8 400 scans a second; in its busiest second this run sent 23.81 % of it.",
        "people a minute, at the peak 120 000",
        "open, at random (Poisson)",
        "sites, a connection each 16",
        "at most 2 000",
        "commit 233337a, and changes that are not committed",
        "p99.99",
    ):
        assert fact in shown


def test_a_page_has_all_pictures_each_with_labels_units_and_acts(monday_page: str) -> None:
    pictures = re.findall(r"<figcaption><h2>(.*?)</h2>.*?(<svg.*?</svg>)", monday_page, flags=re.DOTALL)
    shown = {title: words(svg) for title, svg in pictures}
    assert {title: labels.count("freeze-verifier") for title, labels in shown.items()} == {
        "Arrivals and goodput": 1,
        "What went wrong": 1,
        "Latency over time": 1,
        "Latency distribution": 0,
        "Verdicts": 1,
        "Under way and held back": 1,
        "CPU": 1,
        "Memory": 1,
        "Open descriptors": 1,
    }
    units = (
        "scans a second",
        "latency, ms",
        "verdicts a second",
        "cores",
        "MiB",
        "seconds since the beginning",
    )
    for unit in units:
        assert any(unit in labels for labels in shown.values())


def test_a_long_run_is_told_in_hours(tmp_path: Path) -> None:
    recording = one_second()
    recording.seconds[int(BEGAN_AT) + 20_000] = recording.seconds[int(BEGAN_AT)]
    assert "hours since the beginning" in report(recording, tmp_path)[0]


def test_nothing_that_went_wrong_is_no_picture(tmp_path: Path) -> None:
    text, _ = report(held(), tmp_path)
    assert "What went wrong" not in text
    assert "steady held" in words(text)


def test_an_act_that_could_not_be_done_proves_nothing_and_is_marked(tmp_path: Path) -> None:
    recording = held()
    recording.acts = [DoneAct("freeze-redis", BEGAN_AT + 3, 0.1, "no such process")]
    text, short = report(recording, tmp_path)
    assert "proves nothing: freeze-redis could not be done" in words(text)
    assert "freeze-redis failed" in words(text)
    assert "| freeze-redis | 3 s | 0.1 s | no such process |" in short.replace("\u00a0", " ")


def test_a_run_in_which_nothing_was_due_proves_nothing(tmp_path: Path) -> None:
    text, short = report(empty(), tmp_path)
    assert "proves nothing: no scan was due" in words(text)
    assert short.startswith("## monday-0830 proves nothing: no scan was due\n")


def facts(recording: Recording, folder: Path) -> Facts:
    return gather(recording, Timeline.of(recording), folder)


def test_wrong_verdicts_without_a_threshold_on_them_are_a_reason_too(tmp_path: Path) -> None:
    recording = held()
    next(iter(recording.seconds.values())).wrong = 3
    assert facts(recording, tmp_path).headline == "did not hold: 3 wrong verdicts"


def test_the_headline_says_so_when_the_generator_was_the_limit(tmp_path: Path) -> None:
    recording = held()
    recording.limited_by = "generator: 2.0% of the arrivals were sent late"
    most = numbers.count(max(second.sent for second in recording.seconds.values()))
    limited = "with the generator at its limit"
    assert (
        facts(recording, tmp_path).headline == f"held, {limited}: at most {most} scans were sent in a second"
    )

    recording.thresholds = [ThresholdResult("wrong", 0, is_floor=False, value=3, is_met=False)]
    assert facts(recording, tmp_path).headline == f"did not hold, {limited}: wrong 3, allowed 0"

    recording.problems = ["nobody came"]
    assert facts(recording, tmp_path).headline == "proves nothing: nobody came"


def test_what_was_not_looked_at_says_so(tmp_path: Path) -> None:
    recording = held()
    recording.thresholds = [
        ThresholdResult("hostile_p99_ms", 9, is_floor=False, value=None, is_met=True),
        ThresholdResult("recovered_s", 5, is_floor=False, value=None, is_met=False),
    ]
    told = facts(recording, tmp_path)
    assert told.headline == "did not hold: recovered could not be measured"
    assert [row.cells[-1] for row in told.thresholds.rows] == ["not looked at", "missed"]


def test_the_report_of_locust_is_linked_where_it_is(tmp_path: Path) -> None:
    assert page(facts(held(), tmp_path), []).count("locust.html") == 0
    (tmp_path / "locust.html").touch()
    assert page(facts(held(), tmp_path), []).count('<a href="locust.html">') == 1


def test_a_summary_is_short(tmp_path: Path) -> None:
    recording = held()
    recording.ceiling = Ceiling(8_000, 1)
    recording.acts = [DoneAct("new-epoch", BEGAN_AT + 5, 0.25)]
    for one in recording.seconds.values():  # the numbers of a histogram are tested where it is
        one.honest, one.hostile = type(one.honest)(), type(one.hostile)()
        one.honest.record(0.0025, 1_000)
    told = summary(facts(recording, tmp_path))
    golden = Path(__file__).with_name("test_report_summary.md").read_text(encoding="utf-8")
    assert told.replace("\u00a0", " ") == golden


def test_each_folder_gets_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_second().write(tmp_path)
    assert run([tmp_path]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'report.html'}: monday-0830 proves nothing: no threshold was set\n"
    )


def test_what_is_not_a_recording_has_no_report(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(NotARecording):
        write(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.count(1_234_567), "1 234 567"),
        (numbers.milliseconds(0.05), "0.05 ms"),
        (numbers.milliseconds(12.345), "12.3 ms"),
        (numbers.milliseconds(1_234.4), "1 234 ms"),
        (numbers.milliseconds(61_234), "61.2 s"),
        (numbers.milliseconds(None), "–"),
        (numbers.seconds(90), "90 s"),
        (numbers.seconds(3_660), "1 h 1 min"),
        (numbers.share(1, 3), "33.33 %"),
        (numbers.share(1, 1_000_000), "< 0.01 %"),
        (numbers.share(999_999, 1_000_000), "> 99.99 %"),
        (numbers.share(1, 0), "–"),
        (numbers.measured("server_memory_growth_mib", 16), "16 MiB"),
        (numbers.measured("late_share", 0.0031), "0.31 %"),
        (numbers.measured("per_s", 1_013.4), "1 013 a second"),
        (numbers.measured("recovered_s", 4.02), "4.02 s"),
        (numbers.measured("wrong", 2), "2"),
        (numbers.words("sustained_per_s"), "sustained goodput"),
        (numbers.words("honest_p99.9_ms"), "honest p99.9"),
    ],
)
def test_numbers_are_for_people(shown: str, expected: str) -> None:
    assert shown.replace("\u00a0", " ") == expected


def test_a_chart_of_ratios_is_a_picture(tmp_path: Path) -> None:
    bars = [
        Bar("verifier", "unary CPU / empty call", 1.6, 1.5, 1.9, aim=1.7, is_floor=False),
        Bar("verifier", "batch / OpenSSL verifies", 0.6, 0.5, 0.7, aim=0.7, is_floor=True),
        Bar("naive baseline", "unary / ours", 7.0, 5.0, 8.0, aim=None, is_floor=True),
    ]
    assert [bar.is_met for bar in bars] == [True, False, True]
    draw_bench(bars, tmp_path / "bench.png", title="How far from the limit", caption="2 cores\nPython")
    with Image.open(tmp_path / "bench.png") as picture:
        assert picture.width > picture.height > 300
    draw_bench([], tmp_path / "empty.png", title="Nothing", caption="")
