"""Latencies in an HDR histogram: exact to 10 µs up to 20 ms, then to one part in a thousand, up to 5 minutes.

Counted from the moment at which a scan was due, not from when it was sent: a crowd does not wait for the
server, and what it waits for is counted once for everybody who stood there (G. Tene, "How NOT to Measure
Latency").
"""

from collections.abc import Mapping
from typing import Self

from hdrh.histogram import HdrHistogram

_UNIT_S = 1e-5
_MOST_UNITS = 30_000_000
_SIGNIFICANT_DIGITS = 3
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


class Latencies:
    """A histogram that merges with others, and can be packed while nobody looks: hours have many seconds."""

    def __init__(self) -> None:
        self._open: HdrHistogram | None = None
        self._packed = ""  # as encode() writes it; "" while nothing is recorded

    def record(self, latency_s: float, count: int = 1) -> None:
        """Count `count` scans that took `latency_s`, seconds; what is out of range counts as its end."""
        self._histogram().record_value(min(_MOST_UNITS, max(1, round(latency_s / _UNIT_S))), count)

    def add(self, other: "Latencies") -> None:
        """Add the counts of another histogram."""
        if other._open is not None:
            self._histogram().add(other._open)
        elif other._packed:
            self._histogram().decode_and_add(other._packed)

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._histogram().get_total_count()) if self else 0

    def __bool__(self) -> bool:
        """Tell whether there may be any, without opening what is packed."""
        return self._open is not None or bool(self._packed)

    def percentile_ms(self, percentile: float) -> float | None:
        """Return the latency that `percentile` in 100 did not exceed, milliseconds; None without any."""
        if not self.count:
            return None
        return float(self._histogram().get_value_at_percentile(percentile)) * _UNIT_S * 1000

    @property
    def max_ms(self) -> float | None:
        """The longest, milliseconds; None without any."""
        return float(self._histogram().get_max_value()) * _UNIT_S * 1000 if self.count else None

    def percentiles_ms(self) -> Mapping[str, float | None]:
        """Return "p50" to "p99.99" and "max", milliseconds."""
        found = {f"p{percentile:g}": self.percentile_ms(percentile) for percentile in PERCENTILES}
        return {**found, "max": self.max_ms}

    def encode(self) -> str:
        """Return the histogram in the encoding that HdrHistogram tools read (V2, deflated, Base64)."""
        return self._packed if self._open is None else str(self._open.encode().decode())

    def pack(self) -> None:
        """Take less memory until it is looked at again: a thousandth."""
        self._packed, self._open = self.encode(), None

    @classmethod
    def decode(cls, encoded: str) -> Self:
        """Return the histogram that encode() wrote, packed; what is wrong with it shows when it is opened."""
        latencies = cls()
        latencies._packed = encoded
        return latencies

    def _histogram(self) -> HdrHistogram:
        if self._open is None:
            self._open = HdrHistogram(1, _MOST_UNITS, _SIGNIFICANT_DIGITS)
            if self._packed:
                self._open.decode_and_add(self._packed)
        return self._open
