"""What a worker counts: one row of 64-bit numbers, in memory that the supervisor reads as well.

A scan adds to three or four of them, so that adding is an index and a store. Threads of one worker may add
at once: CPython switches threads between function calls and loop turns only, not within `row[i] += n`.
"""

from enum import IntEnum

ROW_WORDS = 64


class Counter(IntEnum):
    """The places in a row. Places 1 to 31 are the verdicts, by number."""

    SHED = 32  # calls refused because too many waited
    UNAUTHENTICATED = 33  # calls without a credential that is known
    DENIED = 34  # calls for another gate than the credential's
    INVALID = 35  # calls that broke the API
    FAILED = 36  # calls that failed inside the verifier
    CALLS = 37  # calls that were taken up, of every kind
    ENTRIES_LOCAL = 38  # one-entry verdicts given without Redis
    JOURNAL_FAILED = 39  # scan-log entries that could not be written
    JOURNAL_DROPPED_BYTES = 40  # of the oldest segments, removed unshipped because the disk bound was met
    CACHE_HITS = 41
    STREAMS_OPEN = 42  # a level, not a count


class Counters:
    """A row of counts."""

    def __init__(self, row: memoryview | None = None) -> None:
        """Count in `row` (format "Q", ROW_WORDS long), or without one in memory of our own."""
        self.row = memoryview(bytearray(8 * ROW_WORDS)).cast("Q") if row is None else row

    def add(self, place: int, count: int = 1) -> None:
        """Add to one of the counts: a Counter, or the number of a verdict."""
        self.row[place] += count

    def get(self, place: int) -> int:
        """Return one of the counts."""
        return self.row[place]
