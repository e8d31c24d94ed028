"""What an issuer tells Prometheus. No label carries a holder, a credential, a code or free text."""

from prometheus_client import Counter, Gauge

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
