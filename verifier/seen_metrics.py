"""What a running verifier tells Prometheus, read once over HTTP by somebody who is not Prometheus."""

import http.client
import socket
import time
from bisect import bisect_left
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from verifier.errors import VerifierError

PREFIX = "gatelight_verifier_"
TIMEOUT_S = 2.0
# They are 20 KiB; whatever answers there may be something else.
_MAX_BYTES = 4 << 20
_READ_BYTES = 64 << 10

_NO_VERIFIER = "what answers there is no verifier"

_Labels = tuple[tuple[str, str], ...]


class NotSeen(VerifierError):
    """There is no verifier that answers; the message says why, in words for people."""


class SeenMetrics:
    """The metrics of one moment."""

    def __init__(self, text: str) -> None:
        """Read them from Prometheus's text format; raises NotSeen for what is not of a verifier."""
        self.at_s = time.monotonic()
        self._values: dict[str, dict[_Labels, float]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name.startswith(PREFIX):
                        labels = tuple(sorted(sample.labels.items()))
                        self._values.setdefault(sample.name.removeprefix(PREFIX), {})[labels] = sample.value
        except (ValueError, KeyError, IndexError):
            raise NotSeen("what answers there does not speak Prometheus's format") from None
        if "workers_serving" not in self._values:
            raise NotSeen(_NO_VERIFIER)

    @classmethod
    def ask(cls, address: str) -> "SeenMetrics":
        """Ask HOST:PORT, for some seconds at most; raises NotSeen."""
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S)
        try:
            content = _get(connection)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSeen(_reason(error)) from None
        finally:
            connection.close()
        return cls(content.decode("utf-8", errors="replace"))

    def value(self, name: str, **labels: str) -> float | None:
        """Return a metric, named without the prefix; None where it was not told."""
        return self._values.get(name, {}).get(tuple(sorted(labels.items())))

    def total(self, name: str) -> float:
        """Return the sum of a metric over all its labels."""
        return sum(self._values.get(name, {}).values())

    def by_label(self, name: str, label: str) -> Mapping[str, float]:
        """Return a metric by the values of its one label."""
        return {dict(labels)[label]: value for labels, value in self._values.get(name, {}).items()}

    def quantile(
        self, name: str, share: float, since: "SeenMetrics | None" = None, **labels: str
    ) -> float | None:
        """Return below which bound of a histogram that share of observations lies; None without any.

        Those since an earlier moment, where one is given. Infinite where it is above the last bound.
        """
        now, before = self._buckets(name, labels), since._buckets(name, labels) if since else {}
        bounds = sorted(now)
        counts = [now[bound] - before.get(bound, 0.0) for bound in bounds]
        if not counts or counts[-1] <= 0:
            return None
        return bounds[min(bisect_left(counts, share * counts[-1]), len(bounds) - 1)]

    def _buckets(self, name: str, labels: Mapping[str, str]) -> dict[float, float]:
        wanted = set(labels.items())
        found = self._values.get(f"{name}_bucket", {})
        return {
            float(dict(one)["le"]): value
            for one, value in found.items()
            if wanted == set(one) - {("le", dict(one)["le"])}
        }


def _get(connection: http.client.HTTPConnection) -> bytes:
    ends_at_s = time.monotonic() + TIMEOUT_S
    connection.request("GET", "/metrics")
    with connection.getresponse() as answer:
        if answer.status != http.HTTPStatus.OK:
            raise NotSeen(f"what answers there is no verifier: HTTP {answer.status}")
        content = b""
        while more := answer.read1(_READ_BYTES):
            content += more
            if len(content) > _MAX_BYTES:
                raise NotSeen(_NO_VERIFIER)
            if time.monotonic() > ends_at_s:
                raise TimeoutError
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing comes back within {TIMEOUT_S:.0f} s"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there: is it running, with this --metrics-listen?"
    if isinstance(error, socket.gaierror):
        return "the name cannot be looked up"
    return str(getattr(error, "strerror", None) or _NO_VERIFIER)
