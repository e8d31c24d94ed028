"""COSE_Sign1 and the key thumbprint, against the examples of the RFCs."""

import hashlib
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.files import read
from tests.vectors.keys import ACTIVE, RETIRED, ROOT, KeyPair
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import CborError, CoseError

PUBLISHED = read("cose.json")
SIGN1 = PUBLISHED["sign1"]
THUMBPRINT = PUBLISHED["thumbprint"]

signatures = st.binary(min_size=64, max_size=64)


def _thumbprint(required_members: dict[int, Any]) -> bytes:
    return hashlib.sha256(cbor2.dumps(required_members, canonical=True)).digest()


@pytest.mark.parametrize("vector", SIGN1, ids=lambda vector: vector["source"])
def test_the_signature_of_a_published_message_covers_our_sig_structure(vector: dict[str, Any]) -> None:
    protected, _, payload, signature = cbor2.loads(bytes.fromhex(vector["message"])).value
    signed = cose.sig_structure(protected, payload)
    if vector["alg"] == "EdDSA":
        assert VerifyingKey(bytes.fromhex(vector["x"])).verifies(signature, signed)
        return
    numbers = ec.EllipticCurvePublicNumbers(int(vector["x"], 16), int(vector["y"], 16), ec.SECP256R1())
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    numbers.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))


@pytest.mark.parametrize("vector", SIGN1, ids=lambda vector: vector["source"])
def test_a_published_message_is_refused_for_its_unprotected_headers(vector: dict[str, Any]) -> None:
    with pytest.raises(CoseError, match="no unprotected headers"):
        cose.split_sign1(bytes.fromhex(vector["message"]))


def test_the_thumbprint_of_rfc_9679_is_the_hash_of_the_required_members() -> None:
    x, y = bytes.fromhex(THUMBPRINT["x"]), bytes.fromhex(THUMBPRINT["y"])
    members = {1: THUMBPRINT["kty"], -1: THUMBPRINT["crv"], -2: x, -3: y}
    assert _thumbprint(members).hex() == THUMBPRINT["sha256"]


@pytest.mark.parametrize("key", [ROOT, ACTIVE, RETIRED], ids=lambda key: key.name)
def test_a_key_id_is_the_start_of_the_thumbprint_made_the_same_way(key: KeyPair) -> None:
    # RFC 9679, section 4.1: kty, crv and x are the required members of an OKP key.
    assert cose.key_id(key.public) == _thumbprint({1: 1, -1: 6, -2: key.public})[:8]


@given(st.binary(max_size=80), st.binary(max_size=300))
def test_a_sig_structure_is_what_cbor2_makes_of_its_parts(protected: bytes, payload: bytes) -> None:
    assert cose.sig_structure(protected, payload) == cbor2.dumps(["Signature1", protected, b"", payload])


@given(st.binary(max_size=80), st.binary(max_size=300), signatures)
def test_a_message_is_what_cbor2_makes_of_its_parts(
    protected: bytes, payload: bytes, signature: bytes
) -> None:
    expected = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))
    assert cose.assemble_sign1(protected, payload, signature) == expected


@given(st.binary(max_size=80), st.binary(max_size=300), signatures)
def test_an_assembled_message_is_split_into_its_parts(
    protected: bytes, payload: bytes, signature: bytes
) -> None:
    parts = (protected, payload, signature)
    assert cose.split_sign1(cose.assemble_sign1(*parts)) == parts


@given(st.data())
def test_a_spoilt_message_is_split_into_what_assembles_to_it_or_refused(data: st.DataObject) -> None:
    message = bytearray(cose.assemble_sign1(b"protected", b"payload", bytes(64)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        parts = cose.split_sign1(bytes(message))
    except (CborError, CoseError):
        return
    assert cose.assemble_sign1(*parts) == message


@given(st.binary(max_size=120))
def test_any_bytes_behind_the_right_start_are_split_or_refused(rest: bytes) -> None:
    try:
        parts = cose.split_sign1(b"\xd2\x84" + rest)
    except (CborError, CoseError):
        return
    assert cose.assemble_sign1(*parts) == b"\xd2\x84" + rest
