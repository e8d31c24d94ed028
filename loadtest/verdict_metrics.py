"""What a verifier says that it answered: its counters for Prometheus."""

import urllib.request
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

_VERDICTS = "gatelight_verifier_verdicts"
_TIMEOUT_S = 5


def read_verdicts(address: str) -> Counter[str]:
    """Return how many scans all workers answered since the start, by verdict; raises OSError.

    `address` is HOST:PORT of --metrics-listen.
    """
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as answer:
        text = answer.read().decode()
    return Counter(
        {
            sample.labels["verdict"]: int(sample.value)
            for family in text_string_to_metric_families(text)
            if family.name == _VERDICTS
            for sample in family.samples
            if sample.name.endswith("_total")
        }
    )
