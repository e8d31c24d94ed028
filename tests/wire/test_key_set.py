"""The key set: what the root signed is read, and nothing else is ever taken for it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.files import read
from tests.vectors.keys import ACTIVE, RETIRED, ROOT, STRANGER, KeyPair
from verifier.wire import base45, cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import MAX_KEYS, MAX_SIGNED_KEY_SET_BYTES, KeySet, key_set_to_sign, read_key_set

GOOD = read("key_sets.json")["good"]
BAD = read("key_sets.json")["bad"]
PINNED_ROOT = VerifyingKey(ROOT.public)


def _key_set(version: int = 1, keys: tuple[KeyPair, ...] = (ACTIVE, RETIRED)) -> KeySet:
    verifying_keys = [VerifyingKey(key.public) for key in keys]
    return KeySet.of(version=version, issued_at=1_000, expires_at=2_000, keys=verifying_keys)


def _signed(key_set: KeySet, signer: KeyPair = ROOT) -> bytes:
    protected, payload, to_sign = key_set_to_sign(key_set, VerifyingKey(signer.public))
    return cose.assemble_sign1(protected, payload, signer.sign(to_sign))


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_a_good_key_set_is_read(vector: dict[str, Any]) -> None:
    key_set = read_key_set(bytes.fromhex(vector["signed"]), PINNED_ROOT)
    assert key_set.version == vector["version"]
    assert (key_set.issued_at, key_set.expires_at) == (vector["issued_at"], vector["expires_at"])
    assert [key.public_key.hex() for key in key_set.keys.values()] == vector["public_keys"]
    assert all(cose.key_id(key.public_key) == key_id for key_id, key in key_set.keys.items())


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_our_encoder_writes_the_same_key_set_as_the_independent_one(vector: dict[str, Any]) -> None:
    key_set = KeySet.of(
        version=vector["version"],
        issued_at=vector["issued_at"],
        expires_at=vector["expires_at"],
        keys=[VerifyingKey(bytes.fromhex(public_key)) for public_key in vector["public_keys"]],
    )
    assert _signed(key_set).hex() == vector["signed"]


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector["name"])
def test_a_bad_key_set_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(KeySetError):
        read_key_set(bytes.fromhex(vector["signed"]), PINNED_ROOT)


@given(
    version=st.integers(1, 2**32 - 1),
    issued_at=st.integers(0, 2**39 - 1),
    lifetime_s=st.integers(1, 2**39),
    public_keys=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=MAX_KEYS, unique=True),
)
def test_a_key_set_is_read_as_it_was_signed(
    version: int, issued_at: int, lifetime_s: int, public_keys: list[bytes]
) -> None:
    key_set = KeySet.of(
        version=version,
        issued_at=issued_at,
        expires_at=issued_at + lifetime_s,
        keys=[VerifyingKey(public_key) for public_key in public_keys],
    )
    assert read_key_set(_signed(key_set), PINNED_ROOT) == key_set


def test_no_flipped_bit_of_a_key_set_is_taken() -> None:
    signed = _signed(_key_set())
    for at in range(len(signed)):
        for bit in range(8):
            spoilt = bytearray(signed)
            spoilt[at] ^= 1 << bit
            with pytest.raises(KeySetError):
                read_key_set(bytes(spoilt), PINNED_ROOT)


def test_no_part_of_a_key_set_is_taken() -> None:
    signed = _signed(_key_set())
    for length in range(len(signed)):
        with pytest.raises(KeySetError):
            read_key_set(signed[:length], PINNED_ROOT)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(signed: bytes) -> None:
    for start in (b"", b"\xd2\x84"):
        with pytest.raises(KeySetError):
            read_key_set(start + signed, PINNED_ROOT)


@given(st.binary(max_size=100))
def test_any_payload_that_the_root_signed_is_refused(payload: bytes) -> None:
    protected, _, _ = key_set_to_sign(_key_set(), PINNED_ROOT)
    signature = ROOT.sign(cose.sig_structure(protected, payload))
    with pytest.raises(KeySetError):
        read_key_set(cose.assemble_sign1(protected, payload, signature), PINNED_ROOT)


def test_a_key_set_of_another_root_is_refused() -> None:
    with pytest.raises(KeySetError, match="pinned root key"):
        read_key_set(_signed(_key_set(), signer=STRANGER), PINNED_ROOT)


def test_a_signing_key_cannot_sign_a_key_set() -> None:
    with pytest.raises(KeySetError, match="pinned root key"):
        read_key_set(_signed(_key_set(keys=(ACTIVE, STRANGER)), signer=ACTIVE), PINNED_ROOT)


def test_no_code_is_a_key_set_whoever_signed_it() -> None:
    for code in read("good_codes.json")["codes"]:
        message = base45.decode(code["qr_text"].encode().removeprefix(b"GL1:"))
        for pinned in (ROOT, ACTIVE, RETIRED):
            with pytest.raises(KeySetError):
                read_key_set(message, VerifyingKey(pinned.public))


def test_4_096_bytes_are_looked_at_and_one_more_is_not() -> None:
    signed = _signed(_key_set())
    with pytest.raises(KeySetError, match="the end of the message"):
        read_key_set(signed.ljust(4_096, b"\0"), PINNED_ROOT)
    with pytest.raises(KeySetError, match="at most 4096 bytes, got 4097"):
        read_key_set(signed.ljust(4_097, b"\0"), PINNED_ROOT)


def test_a_key_set_of_32_keys_is_within_its_limit() -> None:
    keys = tuple(KeyPair(f"number {number}") for number in range(MAX_KEYS))
    signed = _signed(_key_set(keys=keys))
    assert len(signed) <= MAX_SIGNED_KEY_SET_BYTES
    assert len(read_key_set(signed, PINNED_ROOT).keys) == MAX_KEYS


@pytest.mark.parametrize(
    "key_set",
    [
        KeySet.of(version=0, issued_at=0, expires_at=1, keys=[PINNED_ROOT]),
        KeySet.of(version=1, issued_at=1, expires_at=1, keys=[PINNED_ROOT]),
        KeySet.of(version=1, issued_at=-1, expires_at=1, keys=[PINNED_ROOT]),
        KeySet.of(version=1, issued_at=0, expires_at=1, keys=[]),
        KeySet.of(
            version=1, issued_at=0, expires_at=1, keys=[VerifyingKey(bytes([n] * 32)) for n in range(33)]
        ),
    ],
    ids=["version 0", "empty validity", "issued before 1970", "no keys", "33 keys"],
)
def test_a_key_set_that_no_verifier_would_take_is_not_signed(key_set: KeySet) -> None:
    with pytest.raises(KeySetError):
        key_set_to_sign(key_set, PINNED_ROOT)


def test_the_keys_of_a_key_set_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        _key_set().keys[bytes(8)] = PINNED_ROOT  # type: ignore[index]
