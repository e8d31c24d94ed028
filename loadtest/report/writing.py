"""Writes the report of a run beside its results."""

from collections.abc import Sequence
from pathlib import Path

from loadtest.recording import Recording
from loadtest.report.charts import pictures
from loadtest.report.facts import Facts, gather
from loadtest.report.page import page
from loadtest.report.summary import summary
from loadtest.report.timeline import Timeline

REPORT_NAME, SUMMARY_NAME = "report.html", "summary.md"


def write(folder: Path) -> Facts:
    """Write report.html and summary.md for the results.json in `folder`, and return what they say.

    Raises NotARecording, FileNotFoundError.
    """
    recording = Recording.read(folder)
    timeline = Timeline.of(recording)
    facts = gather(recording, timeline, folder)
    (folder / REPORT_NAME).write_text(page(facts, pictures(recording, timeline)), encoding="utf-8")
    (folder / SUMMARY_NAME).write_text(summary(facts), encoding="utf-8")
    return facts


def run(folders: Sequence[Path]) -> int:
    """Write the report of each folder and print a line for it; raises as write does."""
    for folder in folders:
        facts = write(folder)
        print(f"{folder / REPORT_NAME}: {facts.scenario} {facts.headline}")
    return 0
