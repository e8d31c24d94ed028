"""What a verifier tells Prometheus: the counts of all workers, read from their rows when somebody asks.

The workers know nothing of it. No label carries a gate, a credential, a code or free text; `worker` is the
number of a place, whose counts go on when the process in it is replaced.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from verifier.counters import Counter
from verifier.errors import NotReady, SettingsError
from verifier.host.rows import Phase, Row
from verifier.metrics_server import metrics_served
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
# With fewer calls for each worker, their shares are chance.
_LEAST_MEAN_FOR_SKEW = 10


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that the supervisor knows; None while there is none."""

    name: str
    meaning: str
    read: Callable[[], float | None]


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
        self, rows: Sequence[Row], *, restarts: Callable[[], int], skew: Skew, gauges: Iterable[Gauge]
    ) -> None:
        self._rows = rows
        self._restarts = restarts
        self._skew = skew
        self._gauges = tuple(gauges)

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
        serving = sum(row.phase is Phase.SERVING for row in self._rows)
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
        for gauge in self._gauges:
            with contextlib.suppress(NotReady):
                value = gauge.read()
                if value is not None:
                    yield GaugeMetricFamily(_PREFIX + gauge.name, gauge.meaning, value=value)

    def _sum(self, place: int) -> int:
        return sum(row.counters.get(place) for row in self._rows)


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
