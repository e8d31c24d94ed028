"""What an archive tells Prometheus. No label carries a credential, a gate or a text of theirs."""

from prometheus_client import Counter, Gauge

ARCHIVED = Counter("gatelight_archive_scans_total", "Scans stored, each once.")
BATCHES = Counter("gatelight_archive_batches_total", "Batches taken out of the stream.")
DAMAGED = Counter("gatelight_archive_damaged_batches_total", "Batches of which something could not be read.")
AHEAD = Counter(
    "gatelight_archive_scans_ahead_total", "Scans dated over a day ahead, stored as of when they came."
)
WAITING = Gauge(
    "gatelight_archive_batches_waiting",
    "Batches in the stream that are not archived yet; NaN: Redis is away.",
)
LAG = Gauge(
    "gatelight_archive_lag_seconds",
    "How long the oldest batch that is not archived has been in the stream; 0: none, NaN: Redis is away.",
)
IS_WORKING = Gauge(
    "gatelight_archive_is_working", "1 while this archive works; 0 while it stands by, or Redis is away."
)
SUSPECTS = Counter("gatelight_archive_suspects_total", "Suspected copies reported.", ["kind"])
PURGED = Counter("gatelight_archive_purged_scans_total", "Scans removed because they were too old.")
