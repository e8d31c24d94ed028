"""Hold our codes against an independent COSE library, python-cwt, and have it sign codes for us.

python-cwt needs an older cbor2 than Gatelight, so it runs in an environment of its own, and what it
signed is kept in cwt_codes.json for the tests. From the top of the repository:

    .tools/bin/uv run --isolated --no-project --python 3.11 \\
        --with cwt==3.3.0 --with cbor2==5.9.0 --with base45==0.4.4 \\
        python tests/vectors/interop/make_cwt_goldens.py

Nothing of Gatelight is imported: COSE and CWT are python-cwt's, CBOR cbor2's, Base45 that of the package
of this name. The script fails at the first disagreement and writes only when there was none.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import base45  # type: ignore[import-not-found]
import cbor2
from cwt import COSE, CWT, COSEKey, VerifyError  # type: ignore[import-not-found]

HERE = Path(__file__).parent
PREFIX = "GL1:"
# The windows of the vectors lie years apart, and python-cwt has only the real clock.
ANY_TIME_S = 2**41


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"disagreement: {what}")


def _key(vector: dict[str, str], *, private: bool) -> Any:
    parameters = {
        1: 1,  # kty OKP
        2: bytes.fromhex(vector["key_id"]),
        3: -8,  # alg EdDSA
        -1: 6,  # crv Ed25519
        -2: bytes.fromhex(vector["public_key"]),
    }
    if private:
        parameters[-4] = bytes.fromhex(vector["seed"])
    return COSEKey.new(parameters)


def _claims(code: dict[str, Any]) -> dict[int, Any]:
    statement = [code["kind"], code["credential_index"], code["generation"]]
    if code["hint"]:
        statement.append(code["hint"])
    return {4: code["expires_at"], 5: code["not_before"], -65537: statement}


def _verify(code: dict[str, Any], keys: dict[str, dict[str, str]]) -> None:
    """Have python-cwt verify one of our codes, as COSE and as CWT."""
    _check(code["qr_text"].startswith(PREFIX), f"{code['name']}: prefix")
    message = base45.b45decode(code["qr_text"].removeprefix(PREFIX))
    key = _key(keys[code["key_id"]], private=False)
    protected, unprotected, payload = COSE.new(verify_kid=True).decode_with_headers(message, key)
    _check(protected == {1: -8, 4: bytes.fromhex(code["key_id"])}, f"{code['name']}: headers")
    _check(not unprotected, f"{code['name']}: unprotected headers")
    _check(cbor2.loads(payload) == _claims(code), f"{code['name']}: claims")
    _check(CWT.new(leeway=ANY_TIME_S).decode(message, key) == _claims(code), f"{code['name']}: as CWT")
    try:
        COSE.new(verify_kid=True).decode(message[:-1] + bytes([message[-1] ^ 1]), key)
    except VerifyError:
        return
    raise SystemExit(f"disagreement: {code['name']}: a spoilt signature verifies")


def _sign(code: dict[str, Any], keys: dict[str, dict[str, str]]) -> str:
    """Have python-cwt sign the same claims under our profile; return the QR text."""
    message = COSE.new(deterministic_header=True).encode(
        cbor2.dumps(_claims(code), canonical=True),
        _key(keys[code["key_id"]], private=True),
        protected={1: -8, 4: bytes.fromhex(code["key_id"])},
        unprotected={},
    )
    return PREFIX + str(base45.b45encode(message).decode("ascii"))


def main() -> None:
    """Verify all good codes, sign the same claims, write cwt_codes.json."""
    good = json.loads((HERE.parent / "good_codes.json").read_text(encoding="ascii"))
    keys = {key["key_id"]: key for key in good["test_keys"]}
    for code in good["codes"]:
        _verify(code, keys)
    made_with = {name: version(name) for name in ("cwt", "cbor2", "base45")}
    codes = [{"name": code["name"], "qr_text": _sign(code, keys)} for code in good["codes"]]
    goldens = {"made_with": made_with, "codes": codes}
    (HERE / "cwt_codes.json").write_text(json.dumps(goldens, indent=1) + "\n", encoding="ascii")
    sys.stdout.write(f"cwt verified {len(good['codes'])} codes and signed as many\n")


if __name__ == "__main__":
    main()
