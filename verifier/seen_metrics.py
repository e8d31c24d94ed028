"""What a running verifier tells Prometheus, read once over HTTP by somebody who is not Prometheus."""

import copy
import http.client
import queue
import socket
import threading
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

# How the names of counts end; those of histograms as well.
_COUNTS = ("_total", "_bucket", "_count")

_NO_VERIFIER = "what answers there is no verifier"

_Labels = tuple[tuple[str, str], ...]


class NotSeen(VerifierError):
    """There is no verifier that answers; the message says why, in words for people."""


class SeenMetrics:
    """The metrics of one moment."""

    def __init__(self, text: str) -> None:
        """Read them from Prometheus's text format; raises NotSeen for what is not of a verifier."""
        self.at_s = time.monotonic()
        self.over_s = 0.0  # see since()
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
        """Ask HOST:PORT; raises NotSeen, after TIMEOUT_S at most, whatever takes that time."""
        answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        threading.Thread(target=_put_answer, args=(address, answers), name="metrics", daemon=True).start()
        try:
            content = answers.get(timeout=TIMEOUT_S)
        except queue.Empty:
            content = TimeoutError()
        if isinstance(content, NotSeen):
            raise content
        if isinstance(content, Exception):
            raise NotSeen(_reason(content))
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

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """Return below which bound of a histogram that share of observations lies; None without any.

        Infinite where it is above the last bound.
        """
        found = self._buckets(name, labels)
        bounds = sorted(found)
        counts = [found[bound] for bound in bounds]
        if not counts or counts[-1] <= 0:
            return None
        return bounds[min(bisect_left(counts, share * counts[-1]), len(bounds) - 1)]

    def since(self, before: "SeenMetrics") -> "SeenMetrics":
        """Return what was counted from an earlier moment to this one, in `over_s` seconds; of levels nothing.

        Counts that fell are those of a verifier that was started anew, and all of them count from zero.
        """
        now = {name: values for name, values in self._values.items() if name.endswith(_COUNTS)}
        earlier = before._values
        if any(
            value < earlier.get(name, {}).get(labels, 0.0)
            for name, values in now.items()
            for labels, value in values.items()
        ):
            earlier = {}
        counted = copy.copy(self)
        counted.over_s = max(0.001, self.at_s - before.at_s)
        counted._values = {
            name: {labels: value - earlier.get(name, {}).get(labels, 0.0) for labels, value in values.items()}
            for name, values in now.items()
        }
        return counted

    def _buckets(self, name: str, labels: Mapping[str, str]) -> dict[float, float]:
        wanted = set(labels.items())
        found = self._values.get(f"{name}_bucket", {})
        return {
            float(dict(one)["le"]): value
            for one, value in found.items()
            if wanted == set(one) - {("le", dict(one)["le"])}
        }


def _put_answer(address: str, answers: "queue.SimpleQueue[bytes | Exception]") -> None:
    try:
        answers.put(_get(address))
    except (OSError, http.client.HTTPException, ValueError, NotSeen) as error:
        answers.put(error)


def _get(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    ends_at_s = time.monotonic() + TIMEOUT_S  # when nobody waits for it any more
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S)
    try:
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
    finally:
        connection.close()
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing comes back within {TIMEOUT_S:.0f} s"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there: is it running, with this --metrics-listen?"
    if isinstance(error, socket.gaierror):
        return "the name cannot be looked up"
    return str(getattr(error, "strerror", None) or _NO_VERIFIER)
