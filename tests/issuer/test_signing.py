import itertools
import random
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from issuer import signing
from issuer.drawing import draw
from issuer.errors import UnsoundBundle
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.keys.ring import Signing
from issuer.signing import MAX_WINDOWS, PAPER_WINDOW_S, Credential, sign_bundle, windows_of
from verifier.authenticate import CLOCK_SKEW_S, authenticate
from verifier.wire.base45 import decode
from verifier.wire.code import MAX_PHONE_CODE_BYTES, MAX_U32, PREFIX, Code, CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import Expired
from verifier.wire.key_set import KeySet

KEY = SecretKeyStore(b"signing key of the issuer tests!")
NOW = 1_800_000_017  # 17 seconds into a window
KEY_SET = KeySet.of(version=1, issued_at=0, expires_at=2**33, keys=[VerifyingKey(KEY.public_key)])
PHONE = Credential(CredentialKind.PHONE, 7, 3, hint="王*秀")
PAPER = Credential(CredentialKind.PAPER, 7, 3, hint="王*秀")


def bundle(
    credential: Credential = PHONE,
    window_count: int = 1,
    *,
    key: KeyStore = KEY,
    now: int = NOW,
    seed: int = 1,
) -> list[signing.IssuedCode]:
    windows = windows_of(credential, window_count=window_count, now=now)
    return list(
        sign_bundle(
            credential, windows, signing=Signing(key, key_id_of(key), KEY_SET), rng=random.Random(seed)
        )
    )


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


class StumblingKeyStore:
    """A key service whose answer to one message in a hundred is wrong."""

    public_key = KEY.public_key

    def __init__(self, wrong: int) -> None:
        self._wrong = wrong
        self._count = 0

    def sign(self, message: bytes) -> bytes:
        self._count += 1
        return bytes(64) if self._count - 1 == self._wrong else KEY.sign(message)


def test_each_code_of_a_phone_bundle_may_be_the_one_that_is_checked() -> None:
    for wrong in range(3):
        found = 0
        for seed in range(30):
            try:
                bundle(window_count=3, key=StumblingKeyStore(wrong), seed=seed)
            except UnsoundBundle:
                found += 1
        assert 0 < found < 30


def test_every_paper_code_is_checked() -> None:
    for seed in range(10):
        with pytest.raises(UnsoundBundle):
            bundle(PAPER, key=StumblingKeyStore(0), seed=seed)


@pytest.mark.parametrize(("offset_s", "count", "last_end"), [(-1, 3, 119), (0, 3, 120), (1, 3, 120)])
def test_no_window_ends_after_the_credential(offset_s: int, count: int, last_end: int) -> None:
    ending = replace(PHONE, valid_until=120 + offset_s)
    windows = windows_of(ending, window_count=3, now=0)
    assert len(windows) == count
    assert windows[-1] == (60, last_end)


@pytest.mark.parametrize(("valid_until", "count"), [(89, 3), (90, 3), (91, 4)])
def test_no_window_begins_when_the_credential_has_ended(valid_until: int, count: int) -> None:
    windows = windows_of(replace(PHONE, valid_until=valid_until), window_count=5, now=0)
    assert len(windows) == count
    assert windows[-1][1] == valid_until


@pytest.mark.parametrize(("now", "count"), [(99, 1), (100, 0), (101, 0)])
def test_a_credential_that_has_ended_has_no_window(now: int, count: int) -> None:
    for credential in (PHONE, PAPER):
        windows = windows_of(replace(credential, valid_until=100), window_count=1, now=now)
        assert len(windows) == count


def test_a_card_ends_with_its_credential() -> None:
    (code,) = bundle(replace(PAPER, valid_until=NOW + 60))
    assert code.expires_at == NOW + 60


def test_libsodium_and_openssl_sign_the_same() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"signing key of the issuer tests!")
    for message in (b"", b"a", bytes(1_000)):
        assert KEY.sign(message) == other.sign(message)
    assert KEY.public_key == other.public_key().public_bytes_raw()


def test_signing_reads_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the clock was read"))
    assert bundle(now=NOW) == bundle(now=NOW)
