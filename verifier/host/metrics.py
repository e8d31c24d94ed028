"""What a verifier tells Prometheus: the counts of all workers, read from their rows when somebody asks.

The workers know nothing of it. No label carries a gate, a credential, a code or free text; `worker` is the
number of a place, whose counts go on when the process in it is replaced.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from verifier.counters import CALL_BOUNDS_S, CODE_AGE_BOUNDS_S, Counter, MethodPlace
from verifier.errors import NotReady, SettingsError
from verifier.host.descriptors import descriptors_of
from verifier.host.rows import Phase, Row
from verifier.metrics_server import metrics_served
from verifier.trouble import Part, PartHealth, Trouble, from_number
from verifier.verdict import Verdict

_PREFIX = "gatelight_verifier_"
# Counts that are summed over workers.
_SUMS = (
    (Counter.SHED, "shed", "Calls refused because too many waited."),
    (Counter.UNAUTHENTICATED, "unauthenticated", "Calls without a credential that is known."),
    (Counter.DENIED, "denied", "Calls for another gate than the credential's."),
    (Counter.INVALID, "invalid", "Calls that broke the API."),
    (Counter.FAILED, "failed", "Calls that failed inside the verifier; the log says where."),
    (Counter.ENTRIES_LOCAL, "entries_local", "One-entry verdicts given without Redis."),
    (Counter.JOURNAL_FAILED, "journal_failed", "Scan-log entries that could not be written."),
    (Counter.JOURNAL_DROPPED_BYTES, "journal_dropped_bytes", "Scan log removed unshipped, over its bound."),
    (Counter.CACHE_HITS, "cache_hits", "Codes that had been verified before."),
)
_METHODS = {
    "VerifyCode": MethodPlace.VERIFY_CODE,
    "VerifyCodes": MethodPlace.VERIFY_CODES,
    "StreamVerify": MethodPlace.STREAM_VERIFY,
}
# Parts that are in the workers, and tell of trouble in their rows.
_WORKERS_PARTS = {Part.JOURNAL: Counter.JOURNAL_TROUBLE, Part.ENTRIES: Counter.ENTRIES_TROUBLE}
# A worker ticks ten times a second. One that says nothing for so long is frozen (verifier.host.place), or the
# machine is so busy that gates wait as well.
_SILENT_S = 1.5
# With fewer calls for each worker, their shares are chance.
_LEAST_MEAN_FOR_SKEW = 10


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that the supervisor knows; None while there is none."""

    name: str
    meaning: str
    read: Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Count:
    """A count that the supervisor keeps; it never falls. The name is without `_total`."""

    name: str
    meaning: str
    read: Callable[[], float]


PartsHealth = Mapping[Part, Sequence[PartHealth]]


class Skew:
    """How unevenly connections lie on workers: the busiest worker's calls over the mean of all that serve.

    Over the supervisor's own intervals, and not since the last scrape, so that several may ask.
    """

    def __init__(self) -> None:
        self._before: tuple[int, ...] = ()
        self.ratio = 1.0

    def sample(self, calls: Sequence[int], *, serving: int) -> None:
        """Take the calls of each place so far, and how many workers serve now."""
        before = self._before or (0,) * len(calls)
        self._before = tuple(calls)
        since = [count - earlier for count, earlier in zip(calls, before, strict=True)]
        total = sum(since)
        is_enough = total >= max(1, serving) * _LEAST_MEAN_FOR_SKEW
        # One that has gone since, in a rolling restart, may have had more than its share.
        self.ratio = max(1.0, max(since) * serving / total) if is_enough else 1.0


class VerifierCollector(Collector):
    """Reads the rows."""

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        restarts: Callable[[], int],
        skew: Skew,
        gauges: Iterable[Gauge | Count],
        health: Callable[[], PartsHealth] = dict,
        about: Mapping[str, str] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`health` returns how the supervisor's own parts are; `about` what the verifier is, as labels.

        `monotonic` is the clock of the rows' heartbeats.
        """
        self._rows = rows
        self._restarts = restarts
        self._skew = skew
        self._gauges = tuple(gauges)
        self._health = health
        self._about = dict(about or {})
        self._monotonic = monotonic

    def collect(self) -> Iterator[Metric]:
        """Return every metric as it is now."""
        verdicts = CounterMetricFamily(f"{_PREFIX}verdicts", "Verdicts given.", labels=["verdict"])
        for verdict in Verdict:
            verdicts.add_metric([verdict.name], self._sum(verdict))
        yield verdicts
        for place, name, meaning in _SUMS:
            yield CounterMetricFamily(_PREFIX + name, meaning, value=self._sum(place))
        calls = CounterMetricFamily(f"{_PREFIX}calls", "Calls taken up.", labels=["worker"])
        for number, row in enumerate(self._rows):
            if row.pid or row.counters.get(Counter.CALLS):
                calls.add_metric([str(number)], row.counters.get(Counter.CALLS))
        yield calls
        serving = sum(self._is_serving(row) for row in self._rows)
        yield GaugeMetricFamily(f"{_PREFIX}workers_serving", "Workers that serve.", value=serving)
        yield CounterMetricFamily(
            f"{_PREFIX}worker_restarts", "Workers started again after a death.", value=self._restarts()
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}streams_open", "Streams that are open.", value=self._sum(Counter.STREAMS_OPEN)
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}worker_skew_ratio",
            "The busiest worker's calls over the mean of all that serve, in the last 10 seconds.",
            value=self._skew.ratio,
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}in_flight",
            "Calls that have come and are not answered; of streams, messages.",
            value=self._sum(Counter.IN_FLIGHT),
        )
        yield self._call_seconds()
        yield self._code_ages()
        yield from self._descriptors()
        yield from self._troubles()
        for gauge in self._gauges:
            with contextlib.suppress(NotReady):
                value = gauge.read()
                if value is not None:
                    kind = CounterMetricFamily if isinstance(gauge, Count) else GaugeMetricFamily
                    yield kind(_PREFIX + gauge.name, gauge.meaning, value=value)
        if self._about:
            info = GaugeMetricFamily(f"{_PREFIX}info", "What this verifier is.", labels=list(self._about))
            info.add_metric(list(self._about.values()), 1)
            yield info

    def _is_serving(self, row: Row) -> bool:
        # A frozen worker goes on to say that it serves.
        return row.phase is Phase.SERVING and self._monotonic() - row.heartbeat_s <= _SILENT_S

    def _call_seconds(self) -> Metric:
        family = HistogramMetricFamily(
            f"{_PREFIX}call_seconds",
            "From when a call came to its answer, wait for a turn included; of streams, each message.",
            labels=["method"],
        )
        for name, method in _METHODS.items():
            counts = [row.counters.call_buckets(method) for row in self._rows]
            total_s = sum(row.counters.call_sum_s(method) for row in self._rows)
            family.add_metric([name], _cumulative(CALL_BOUNDS_S, counts), total_s)
        return family

    def _code_ages(self) -> Metric:
        # Without a sum: OpenMetrics has none where an observation may be negative.
        return HistogramMetricFamily(
            f"{_PREFIX}code_age_seconds",
            "Our clock minus the beginning of the window, of authentic PHONE codes.",
            buckets=_cumulative(CODE_AGE_BOUNDS_S, [row.counters.code_age_buckets() for row in self._rows]),
            sum_value=None,
        )

    def _descriptors(self) -> Iterator[Metric]:
        of_workers = [descriptors_of(row.pid) for row in self._rows if row.pid]
        known = [(count, limit) for count, limit in filter(None, of_workers) if limit]
        if not known:
            return
        count, limit = max(known, key=lambda one: one[0] / one[1])
        yield GaugeMetricFamily(
            f"{_PREFIX}descriptors_open", "Of the worker that is nearest to its limit.", value=count
        )
        yield GaugeMetricFamily(f"{_PREFIX}descriptors_limit", "Of the same worker.", value=limit)

    def _troubles(self) -> Iterator[Metric]:
        """Give all parts and kinds, so that nobody has to know what a missing one means."""
        trouble = GaugeMetricFamily(
            f"{_PREFIX}trouble", "1 while a part fails for such a reason.", labels=["part", "kind"]
        )
        lasts = GaugeMetricFamily(
            f"{_PREFIX}trouble_seconds", "How long a part has failed; 0 while it does not.", labels=["part"]
        )
        found = self._health()
        for part in Part:
            health = [*found.get(part, ()), *self._health_in_workers(part)]
            kinds = {one.trouble for one in health}
            for kind in Trouble:
                trouble.add_metric([part, kind], kind in kinds)
            lasts.add_metric([part], max((one.lasts_s for one in health), default=0.0))
        yield trouble
        yield lasts

    def _health_in_workers(self, part: Part) -> Iterator[PartHealth]:
        place = _WORKERS_PARTS.get(part)
        if place is None:
            return
        for row in self._rows:
            kind = from_number(row.counters.get(place))
            if kind is not None:
                since_s = row.counters.get(place + 1) / 1e3
                # From the first moment on, it lasts.
                yield PartHealth(kind, max(0.001, self._monotonic() - since_s))

    def _sum(self, place: int) -> int:
        return sum(row.counters.get(place) for row in self._rows)


def _cumulative(bounds: Sequence[float], counts: Sequence[Sequence[int]]) -> list[tuple[str, float]]:
    """Return what Prometheus calls buckets: how many are up to each bound, of all workers."""
    ends = [*(floatToGoString(bound) for bound in bounds), "+Inf"]  # type: ignore[no-untyped-call]
    sums = itertools.accumulate(sum(one) for one in zip(*counts, strict=True))
    return list(zip(ends, sums, strict=True))


@contextlib.contextmanager
def serve_metrics(listen: str, collector: VerifierCollector) -> Iterator[None]:
    """Answer Prometheus on an address (HOST:PORT; empty: none); raises SettingsError."""
    if not listen:
        yield
        return
    registry = CollectorRegistry()
    registry.register(collector)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(metrics_served(listen, registry))
        except OSError as error:
            raise SettingsError(f"--metrics-listen: cannot listen on {listen}: {error.strerror}") from None
        yield
