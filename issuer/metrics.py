"""What an issuer tells Prometheus. No label carries a holder, a credential, a code or free text."""

from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

# From a bundle of one code to an import of a city.
_CALL_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

CALLS = Counter(
    "gatelight_issuer_calls_total",
    "Calls, by method and by the status code they ended with.",
    ["method", "code"],
)
CALL_SECONDS = Histogram(
    "gatelight_issuer_call_seconds",
    "How long calls took, from when they came to the last of the answer.",
    ["method"],
    buckets=_CALL_BOUNDS_S,
)

KEY_SET_EXPIRES_AT = Gauge("gatelight_issuer_key_set_expires_at", "Unix seconds at which the key set ends.")
KEY_SET_LIFE_LEFT = Gauge(
    "gatelight_issuer_key_set_life_left_ratio", "Share of the key set's life that is left; alarm below 0.33."
)
KEY_SET_IS_STALE = Gauge(
    "gatelight_issuer_key_set_is_stale", "1 while another key set should be signed and is not."
)
GATE_LIST_EXPIRES_AT = Gauge(
    "gatelight_issuer_gate_list_expires_at", "Unix seconds at which the gate list signed last ends."
)
REDS_BY_HAND = Gauge(
    "gatelight_issuer_reds_by_hand_last_hour", "Reds set by hand within the last hour.", ["operator"]
)
OUTBOX_ROWS = Gauge("gatelight_issuer_outbox_rows", "Changes that are not in Redis yet.")
UNPUBLISHED = Gauge(
    "gatelight_issuer_unpublished_seconds",
    "How long at least the oldest change has waited that is not in Redis; 0: none waits.",
)
HEARTBEAT_AGE = Gauge(
    "gatelight_issuer_heartbeat_age_seconds",
    "How long ago the last heartbeat went into the feed, each second.",
)
APPROVALS_WAITING = Gauge("gatelight_issuer_approvals_waiting", "Requests that wait for a second person.")
FAILED_AUTHENTICATIONS = Counter(
    "gatelight_issuer_failed_authentications_total",
    "Calls without a client, or of an unknown or revoked one.",
)
BUNDLES_UNLIMITED = Counter(
    "gatelight_issuer_bundles_unlimited_total", "Bundles let through unasked because Redis did not answer."
)
BUNDLES_REFUSED = Counter("gatelight_issuer_bundles_refused_total", "Bundles refused by the rate limit.")
CODES_SIGNED = Counter("gatelight_issuer_codes_signed_total", "Codes signed.")
SIGNING_KEY_IS_OVERDUE = Gauge(
    "gatelight_issuer_signing_key_is_overdue",
    "1 while the signing key should have been replaced and is not, or there is none.",
)
SIGNING_KEYS = Gauge(
    "gatelight_issuer_signing_keys", "Signing keys that there have been, by state.", ["state"]
)
SIGNING_KEY_LEFT = Gauge(
    "gatelight_issuer_signing_key_left_seconds",
    "Until the key that signs is to be replaced; negative: it is late. 0 without one.",
)
INFO = Gauge("gatelight_issuer_info", "1; the release is in the label.", ["version"])
INFO.labels(version("gatelight")).set(1)
