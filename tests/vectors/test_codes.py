"""The codes of the vectors: rebuilt, written by our encoder, read by authenticate(), made by others."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import raw_cbor as raw
from tests.vectors.files import KEY_SET, read
from tests.vectors.generate import FOLDER, generate
from tests.vectors.keys import ACTIVE, RETIRED
from verifier.authenticate import authenticate
from verifier.verdict import Verdict, reject
from verifier.wire import errors
from verifier.wire.code import (
    Code,
    CredentialKind,
    SignedCode,
    code_sig_structure,
    encode_claims,
    encode_qr_text,
)

GOOD = read("good_codes.json")["codes"]
BAD = read("bad_codes.json")["codes"]
MADE_BY_CWT = {code["name"]: code["qr_text"] for code in read("interop/cwt_codes.json")["codes"]}
PRIVATE = {key.key_id: key for key in (ACTIVE, RETIRED)}


def _each(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


def _said(vector: dict[str, Any]) -> Code:
    return Code(
        CredentialKind(vector["kind"]),
        vector["credential_index"],
        vector["generation"],
        vector["not_before"],
        vector["expires_at"],
        vector["hint"],
    )


def test_the_committed_vectors_are_what_the_script_makes(tmp_path: Path) -> None:
    for path in generate(tmp_path):
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), f"run make vectors: {path.name}"


@_each(GOOD)
def test_a_good_code_authenticates_and_says_what_was_signed(vector: dict[str, Any]) -> None:
    assert authenticate(vector["qr_text"].encode(), KEY_SET, vector["now"]) == _said(vector)


@_each(GOOD)
def test_our_encoder_writes_the_same_code_as_the_independent_one(vector: dict[str, Any]) -> None:
    key = PRIVATE[bytes.fromhex(vector["key_id"])]
    payload = encode_claims(_said(vector))
    signature = key.sign(code_sig_structure(key.key_id, payload))
    assert encode_qr_text(SignedCode(key.key_id, payload, signature)) == vector["qr_text"].encode()


@_each(GOOD)
def test_a_code_that_python_cwt_signed_authenticates_here(vector: dict[str, Any]) -> None:
    made_by_cwt = MADE_BY_CWT[vector["name"]]
    assert authenticate(made_by_cwt.encode(), KEY_SET, vector["now"]) == _said(vector)


@_each(GOOD)
def test_python_cwt_signed_the_same_bytes_as_we_do(vector: dict[str, Any]) -> None:
    # Deterministic CBOR and deterministic signatures: two implementations, one code.
    assert MADE_BY_CWT[vector["name"]] == vector["qr_text"]


@_each(BAD)
def test_a_bad_code_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(errors.CodeError) as refused:
        authenticate(vector["qr_text"].encode("latin-1"), KEY_SET, vector["now"])
    assert type(refused.value) is getattr(errors, vector["error"])
    assert reject(refused.value) is Verdict[vector["verdict"]]


@_each(BAD)
def test_the_message_of_a_refusal_carries_nothing_of_the_code(vector: dict[str, Any]) -> None:
    qr_text = vector["qr_text"].encode("latin-1")
    with pytest.raises(errors.CodeError) as refused:
        authenticate(qr_text, KEY_SET, vector["now"])
    words = str(refused.value).replace(":", " ").split()
    # Twelve characters of Base45 are eight bytes: less than that is an ordinary word or number.
    assert not [word for word in words if len(word) >= 12 and word.encode() in qr_text]


def test_bad_codes_have_names_of_their_own_and_cover_every_verdict_on_a_code() -> None:
    assert max(Counter(vector["name"] for vector in BAD).values()) == 1
    assert {vector["verdict"] for vector in BAD} == {
        "MALFORMED",
        "UNKNOWN_KEY",
        "BAD_SIGNATURE",
        "NOT_YET_VALID",
        "EXPIRED",
    }


def test_the_independent_writer_can_write_what_is_wrong() -> None:
    assert raw.integer(1, width=8).hex() == "1b0000000000000001"
    assert raw.indefinite(4, raw.integer(1)).hex() == "9f01ff"
    assert raw.array(raw.integer(-65_537), raw.NULL).hex() == "823a00010000f6"
