"""What happens to a key next by itself, in words for operators. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime

from issuer.keys.lifecycle import Key, KeyState, Thresholds, signing_key, why_full
from verifier.wire.key_set import KeySet

# What to do while the root key is kept elsewhere.
ROOT_ELSEWHERE = (
    "gatelight-issuer key-set export; sign it where the root key is, with key-set sign; then key-set import"
)

# What to do while cards of many keys are in force.
LONGER_LIFE = "choose a longer --key-life-s, or print no cards"


def next_step(
    key: Key, keys: Collection[Key], key_set: KeySet, thresholds: Thresholds, *, is_root_here: bool
) -> str:
    """Return a sentence about one of the keys; empty when nothing will happen."""
    if key.state in (KeyState.RETIRED, KeyState.REVOKED):
        if key.key_id not in key_set.keys:
            return ""
        return "leaves the key set" if is_root_here else f"is still published: {ROOT_ELSEWHERE}"
    if key.is_lost:
        revoke = f"gatelight-issuer key revoke {key.key_id.hex()}"
        return f"signs no more: its file is gone or cannot be opened; if no code of it is needed, {revoke}"
    if key.key_id not in key_set.keys:
        return "is published within seconds" if is_root_here else f"is not published: {ROOT_ELSEWHERE}"
    signing = signing_key(keys)
    if key.state is KeyState.PREPARED:
        if signing is None:
            return "signs at once"
        begins = max(key.published_at + thresholds.lead_s, signing.activated_at + thresholds.life_s)
        return f"signs from {_utc(begins)} on"
    if key == signing:
        prepares = key.activated_at + thresholds.prepare_after_s
        ends = key.activated_at + thresholds.life_s
        if any(one.state is KeyState.PREPARED and not one.is_lost for one in keys):
            return f"signs until {_utc(ends)}"
        if full := why_full(keys):
            return f"signs until another key is retired or revoked: {full}; {LONGER_LIFE}"
        return f"its successor is made at {_utc(prepares)}; signs until {_utc(ends)}"
    return f"is retired at {_utc(key.last_expires_at + thresholds.skew_s)}, when its last code has ended"


def _utc(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
