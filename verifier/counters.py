"""What a worker counts: one row of 64-bit numbers, in memory that the supervisor reads as well.

A scan adds to a few of them, so that adding is an index and a store. Threads of one worker may add
at once: CPython switches threads between function calls and loop turns only, not within `row[i] += n`.

    1 to 31      verdicts, by number
    32 to 63     counts, and levels: how it is now
    64 to 111    how long calls took: for each method 15 buckets and the sum in nanoseconds
    112 to 127   how old PHONE codes were: 16 buckets

A call costs half a microsecond by them (`begin` and `end`), a scan a seventh of one more for its age.
"""

import time
from bisect import bisect_left
from enum import IntEnum

from verifier.trouble import Trouble, to_number

ROW_WORDS = 128


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
    # Levels, not counts.
    STREAMS_OPEN = 42
    IN_FLIGHT = 43  # calls that have come and are not answered; of a stream, messages
    JOURNAL_TROUBLE = 44  # verifier.trouble.to_number()
    JOURNAL_TROUBLE_SINCE = 45  # milliseconds of the monotonic clock, which processes share
    ENTRIES_TROUBLE = 46
    ENTRIES_TROUBLE_SINCE = 47


# Levels end with the process.
LEVELS = (
    Counter.STREAMS_OPEN,
    Counter.IN_FLIGHT,
    Counter.JOURNAL_TROUBLE,
    Counter.JOURNAL_TROUBLE_SINCE,
    Counter.ENTRIES_TROUBLE,
    Counter.ENTRIES_TROUBLE_SINCE,
)


class MethodPlace(IntEnum):
    """The methods of the service, by the first place of what is counted for each."""

    VERIFY_CODE = 64
    VERIFY_CODES = 80
    STREAM_VERIFY = 96  # each message


# Upper ends of the buckets, included, in seconds; one more bucket has no end.
CALL_BOUNDS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
# Negative: the window had not begun, by our clock.
CODE_AGE_BOUNDS_S = (-600, -300, -120, -60, -30, -10, 0, 10, 30, 60, 90, 120, 300, 600, 3600)
CODE_AGE_AT = 112
_CALL_BOUNDS_NS = tuple(round(bound_s * 1e9) for bound_s in CALL_BOUNDS_S)
_CALL_SUM = len(CALL_BOUNDS_S) + 1
# As a number of this module: a member of an enum is looked up in 0.1 microseconds.
_IN_FLIGHT = int(Counter.IN_FLIGHT)
_now_ns = time.monotonic_ns


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

    def begin(self) -> int:
        """Note a call that has come; return what end() or drop() has to be told, once."""
        self.row[_IN_FLIGHT] += 1
        return _now_ns()

    def end(self, method: int, begun_ns: int) -> None:
        """Note that a call was answered: how long it took, queueing included."""
        took_ns = _now_ns() - begun_ns
        row = self.row
        row[_IN_FLIGHT] -= 1
        row[method + bisect_left(_CALL_BOUNDS_NS, took_ns)] += 1
        row[method + _CALL_SUM] += took_ns

    def drop(self) -> None:
        """Note that a call was ended without an answer: those say nothing of how long answers take."""
        self.row[_IN_FLIGHT] -= 1

    def code_age(self, age_s: int) -> None:
        """Note how long ago the window of an authentic code began."""
        self.row[CODE_AGE_AT + bisect_left(CODE_AGE_BOUNDS_S, age_s)] += 1

    def call_buckets(self, method: MethodPlace) -> list[int]:
        """Return how many calls took until each bound, and longer than the last: each call once."""
        return self.row[method : method + _CALL_SUM].tolist()

    def call_sum_s(self, method: MethodPlace) -> float:
        """Return how long all calls took together."""
        return self.row[method + _CALL_SUM] / 1e9

    def code_age_buckets(self) -> list[int]:
        """Return how many codes were of each age: each code once."""
        return self.row[CODE_AGE_AT : CODE_AGE_AT + len(CODE_AGE_BOUNDS_S) + 1].tolist()

    def set_trouble(self, place: Counter, trouble: Trouble | None) -> None:
        """Say that a part fails, or does no more; `place` is the level of the part.

        It has lasted since it was first said, whatever its kind has become.
        """
        row = self.row
        if trouble is not None and not row[place]:
            row[place + 1] = _now_ns() // 1_000_000
        row[place] = to_number(trouble)
