"""Latencies in an HDR histogram: exact to 10 µs up to 20 ms, then to one part in a thousand, up to 5 minutes.

Counted from the moment at which a scan was due, not from when it was sent: a crowd does not wait for the
server, and what it waits for is counted once for everybody who stood there (G. Tene, "How NOT to Measure
Latency").
"""

import math
import weakref
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final, Self

from hdrh import codec
from hdrh.histogram import HdrHistogram

_UNIT_S: Final = 1e-5
_UNIT_MS: Final = 1e-2
_MOST_UNITS: Final = 30_000_000
_RANGE: Final = (1, _MOST_UNITS, 3)  # of HdrHistogram: least, most, significant digits
# All of 16 384 counters at nine bytes each, in Base64; what is longer is none of ours.
_MOST_ENCODED: Final = 200_000
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 99.99)

_DECODING_ERRORS: Final = (
    *(ValueError, TypeError, AssertionError, IndexError, OverflowError, RuntimeError, zlib.error),
    *(codec.HdrCookieException, codec.HdrLengthException, codec.HdrHistogramSettingsException),
)


class NotLatencies(ValueError):
    """What was to be decoded is no histogram of ours."""


class Latencies:
    """A histogram that merges with others, and can be packed when nothing is added: hours have many seconds.

    Open, it takes 130 kB; packed, some 3 kB, or nothing without any. Looking at one leaves it as it is.
    """

    def __init__(self) -> None:
        self._open: HdrHistogram | None = None
        self._packed = ""  # as encode() writes it; "" while nothing is recorded

    def record(self, latency_s: float, count: int = 1) -> None:
        """Count `count` scans that took `latency_s`, seconds; what is out of range counts as its end."""
        histogram = self._open or self._opened()
        histogram.record_value(min(_MOST_UNITS, max(1, round(latency_s / _UNIT_S))), count)

    def add(self, other: "Latencies") -> None:
        """Add the counts of another histogram."""
        if other:
            self._opened().add(other._looked_at())

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._looked_at().get_total_count()) if self else 0

    def __bool__(self) -> bool:
        """Tell whether there are any, without opening what is packed."""
        return bool(self._packed) if self._open is None else self._open.get_total_count() > 0

    def __eq__(self, other: object) -> bool:
        """Compare the counts, whether packed or not."""
        return self.encode() == other.encode() if isinstance(other, Latencies) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # it changes

    def percentile_ms(self, percentile: float) -> float | None:
        """Return the latency that `percentile` in 100 did not exceed, milliseconds; None without any."""
        return self._values_ms([percentile])[0] if self else None

    @property
    def max_ms(self) -> float | None:
        """The longest, milliseconds; None without any."""
        return self.percentile_ms(100)

    def percentiles_ms(self) -> Mapping[str, float | None]:
        """Return "p50" to "p99.99" and "max", milliseconds; None for one that nobody is expected to exceed.

        p99.99 of 500 scans would be their maximum, and look as if more were known.
        """
        names = (*(f"p{percentile:g}" for percentile in PERCENTILES), "max")
        if not self:
            return dict.fromkeys(names)
        found = dict(zip(names, self._values_ms((*PERCENTILES, 100.0)), strict=True))
        beyond = {f"p{one:g}": self.count * (100 - one) / 100 for one in PERCENTILES if one > 50}
        return {name: None if beyond.get(name, 1) < 0.999 else value for name, value in found.items()}

    def encode(self) -> str:
        """Return the histogram in the encoding that HdrHistogram tools read (V2, deflated, Base64).

        It counts in units of 10 µs. "" without any.
        """
        if self._open is None:
            return self._packed
        return str(self._open.encode().decode()) if self else ""

    def pack(self) -> None:
        """Take less memory until something is added again."""
        self._packed, self._open = self.encode(), None

    @classmethod
    def decode(cls, encoded: str) -> Self:
        """Return the histogram that encode() wrote, packed; raises NotLatencies."""
        latencies = cls()
        if encoded and _decoded(encoded).get_total_count():
            latencies._packed = encoded
        return latencies

    def _values_ms(self, percentiles: Iterable[float]) -> list[float]:
        # The library goes through all 16 384 counters, for each percentile; and it rounds the rank, so that
        # a 99th percentile of few may be exceeded by more than one in 100.
        histogram = self._looked_at()
        used = histogram.get_counts_array_index(histogram.max_value) + 1
        counts_until = list(accumulate(histogram.counts[:used]))
        values = []
        for percentile in percentiles:
            # 99.9 * 1000 / 100 is a little more than 999: hence the next smaller percentile.
            rank = math.ceil(math.nextafter(percentile, 0.0) * counts_until[-1] / 100)
            index = bisect_left(counts_until, max(1, rank))
            highest = histogram.get_highest_equivalent_value(histogram.get_value_from_index(index))
            values.append(round(highest * _UNIT_MS, 2))
        return values

    def _opened(self) -> HdrHistogram:
        """Return the histogram to be written to."""
        if self._open is None:
            self._open = self._looked_at()
        return self._open

    def _looked_at(self) -> HdrHistogram:
        """Return the histogram to be read."""
        if self._open is not None:
            return self._open
        if self._packed:
            return _decoded(self._packed)
        return _without_cycle(HdrHistogram(*_RANGE))


def _decoded(encoded: str) -> HdrHistogram:
    if len(encoded) > _MOST_ENCODED:
        raise NotLatencies("longer than any histogram")
    try:
        content = codec.HdrHistogramEncoder.decode(encoded)
        head = content.payload
        found = (head.lowest_trackable_value, head.highest_trackable_value, head.significant_figures)
        if found != _RANGE:
            raise NotLatencies("a histogram of other latencies than ours")
        return _without_cycle(HdrHistogram(*_RANGE, hdr_payload=content))
    except _DECODING_ERRORS as error:
        raise NotLatencies(f"no histogram: {type(error).__name__}") from error


def _without_cycle(histogram: HdrHistogram) -> HdrHistogram:
    # The library's histogram and its encoder hold each other: 130 kB a second that only a full collection
    # frees, and generators put collections off.
    histogram.encoder.histogram = weakref.proxy(histogram)
    return histogram
