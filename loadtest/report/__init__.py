"""The report of a load run: one HTML page with pictures and a short Markdown summary, from results.json."""

from loadtest.report.writing import write

__all__ = ["write"]
