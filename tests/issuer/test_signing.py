import itertools
import time

import pytest

from issuer import signing
from issuer.drawing import draw
from issuer.errors import UnsoundBundle
from issuer.key_store import KeyStore, SecretKeyStore
from issuer.signing import MAX_WINDOWS, PAPER_WINDOW_S, Credential, sign_bundle
from tests.issuer.running_issuer import KEY
from verifier.authenticate import CLOCK_SKEW_S, authenticate
from verifier.wire.base45 import decode
from verifier.wire.code import MAX_PHONE_CODE_BYTES, MAX_U32, PREFIX, Code, CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import Expired
from verifier.wire.key_set import KeySet

NOW = 1_800_000_017  # 17 seconds into a window
KEY_SET = KeySet.of(version=1, issued_at=0, expires_at=2**33, keys=[VerifyingKey(KEY.public_key)])
PHONE = Credential(CredentialKind.PHONE, 7, 3, hint="王*秀")
PAPER = Credential(CredentialKind.PAPER, 7, 3, hint="王*秀")


def bundle(
    credential: Credential = PHONE, window_count: int = 1, *, key: KeyStore = KEY, now: int = NOW
) -> list[signing.IssuedCode]:
    return list(sign_bundle(credential, window_count=window_count, key=key, key_set=KEY_SET, now=now))


def test_a_bundle_begins_with_the_current_window() -> None:
    first = bundle()[0]
    assert first.not_before <= NOW < first.expires_at
    assert first.not_before == NOW - 17


@pytest.mark.parametrize(("now", "not_before"), [(59, 30), (60, 60), (61, 60)])
def test_windows_begin_at_multiples_of_half_a_minute(now: int, not_before: int) -> None:
    assert bundle(now=now)[0].not_before == not_before


def test_consecutive_windows_overlap_by_half() -> None:
    codes = bundle(window_count=5)
    for code, following in itertools.pairwise(codes):
        assert following.not_before - code.not_before == 30
        assert code.expires_at - following.not_before == 30


def test_the_longest_bundle_covers_a_day_without_a_gap() -> None:
    codes = bundle(window_count=MAX_WINDOWS)
    assert len(codes) == MAX_WINDOWS
    assert codes[-1].expires_at - codes[0].not_before == 86_400 + 30


def test_a_screenshot_is_useless_after_ninety_seconds() -> None:
    code = bundle(now=NOW)[0]
    # Taken in the last second in which a phone shows it.
    taken_at = code.not_before + signing.ROTATION_S - 1
    with pytest.raises(Expired):
        authenticate(code.qr_text, KEY_SET, taken_at + 90)
    authenticate(code.qr_text, KEY_SET, code.expires_at + CLOCK_SKEW_S - 1)


def test_a_code_says_what_was_asked_for() -> None:
    code = bundle()[0]
    expected = Code(CredentialKind.PHONE, 7, 3, code.not_before, code.expires_at)
    assert authenticate(code.qr_text, KEY_SET, NOW) == expected


def test_a_phone_code_never_carries_a_hint() -> None:
    assert authenticate(bundle(PHONE)[0].qr_text, KEY_SET, NOW).hint == ""


def test_a_paper_code_carries_the_hint_and_lasts_half_a_year() -> None:
    code = bundle(PAPER)[0]
    assert authenticate(code.qr_text, KEY_SET, NOW).hint == "王*秀"
    assert code.expires_at - code.not_before == PAPER_WINDOW_S == 180 * 86_400


def test_the_longest_phone_code_until_2106_fits_version_7() -> None:
    longest = Credential(CredentialKind.PHONE, MAX_U32, MAX_U32, hint="")
    qr_text = bundle(longest, now=2**32 - 61)[0].qr_text
    assert len(decode(qr_text[len(PREFIX) :])) <= MAX_PHONE_CODE_BYTES
    assert draw(qr_text.decode()).designator == "7-M"


def test_the_longest_paper_code_authenticates() -> None:
    longest = Credential(CredentialKind.PAPER, MAX_U32, MAX_U32, hint="王*" + "\U00020000" * 7)
    assert authenticate(bundle(longest)[0].qr_text, KEY_SET, NOW).hint == longest.hint


class ForgetfulKeyStore:
    """A key service whose answers are of another key."""

    public_key = KEY.public_key

    def sign(self, message: bytes) -> bytes:
        return SecretKeyStore(bytes(32)).sign(message)


class BrokenKeyStore:
    """A key service that answers with zeros."""

    public_key = KEY.public_key

    def sign(self, message: bytes) -> bytes:  # noqa: ARG002
        return bytes(64)


@pytest.mark.parametrize("key", [ForgetfulKeyStore(), BrokenKeyStore(), SecretKeyStore(bytes(32))])
def test_nothing_is_handed_out_that_the_verifier_would_refuse(key: KeyStore) -> None:
    with pytest.raises(UnsoundBundle) as caught:
        bundle(window_count=3, key=key)
    assert "GL1:" not in str(caught.value)


def test_signing_reads_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the clock was read"))
    assert bundle(now=NOW) == bundle(now=NOW)
