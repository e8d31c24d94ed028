"""What verifier, issuer and archive really tell Prometheus: every metric by name, with its labels."""

import urllib.request
from collections.abc import Iterable

from prometheus_client import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families

import issuer.archive.metrics
import issuer.metrics

# Those that Prometheus makes itself.
ITS_OWN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "job", "instance"}}
# Labels that Prometheus adds to everything it reads.
ADDED = {"job", "instance"}


def labels_by_metric(families: Iterable[Metric]) -> dict[str, set[str]]:
    """Return the names of all series, each with the names of its labels."""
    found: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def of_verifier(address: str) -> dict[str, set[str]]:
    """Return what a running verifier tells."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as reply:
        return labels_by_metric(text_string_to_metric_families(reply.read().decode()))


def of_issuer() -> dict[str, set[str]]:
    """Return what issuer and archive tell; of what has labels, also before there is a value."""
    found = labels_by_metric(REGISTRY.collect())
    for module in (issuer.metrics, issuer.archive.metrics):
        for metric in vars(module).values():
            if (labels := getattr(metric, "_labelnames", None)) is not None:
                for described in metric.describe():
                    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
                    for suffix in suffixes.get(described.type, ("",)):
                        extra = {"le"} if suffix == "_bucket" else set()
                        found.setdefault(described.name + suffix, set()).update({*labels, *extra})
    return found
