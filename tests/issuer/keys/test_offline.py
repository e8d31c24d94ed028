import json
from pathlib import Path

import pytest

from issuer.errors import KeyFileError, SetupError
from issuer.key_file import Purpose, write_key_file
from issuer.key_store import SecretKeyStore
from issuer.keys.offline import describe, export_text, read_export, sign_offline
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import KeySet, encode_payload, read_key_set

ROOT_SECRET = b"root of the tests of the keys..."
ROOT = SecretKeyStore(ROOT_SECRET)
PASSPHRASE = b"correct horse"
KEYS = [VerifyingKey(SecretKeyStore(bytes([number]) * 32).public_key) for number in (1, 2)]
KEY_SET = KeySet.of(version=7, issued_at=1_800_000_000, expires_at=1_802_592_000, keys=KEYS)


@pytest.fixture
def root_key(tmp_path: Path) -> Path:
    """The file of a root key."""
    path = tmp_path / "root.key"
    write_key_file(path, ROOT_SECRET, purpose=Purpose.ROOT, passphrase=PASSPHRASE)
    return path


def exported(**changes: object) -> bytes:
    """An exported file, with fields changed."""
    return json.dumps({**json.loads(export_text(encode_payload(KEY_SET))), **changes}).encode()


def test_a_key_set_comes_through_export_signing_and_import_unchanged(root_key: Path) -> None:
    key_set = read_export(export_text(encode_payload(KEY_SET)).encode())
    signed = sign_offline(key_set, root_key=root_key, passphrase=PASSPHRASE)
    assert read_key_set(signed, VerifyingKey(ROOT.public_key)) == KEY_SET


def test_the_exported_file_can_be_read_by_a_person() -> None:
    text = export_text(encode_payload(KEY_SET))
    assert '"version": 7' in text
    assert '"expires_at": "2027-02-14T08:00:00Z"' in text
    assert all(key_id.hex() in text for key_id in KEY_SET.keys)


def test_whoever_signs_is_told_version_validity_and_keys() -> None:
    text = "\n".join(describe(KEY_SET))
    assert "key set 7" in text
    assert "2027-01-15T08:00:00Z to 2027-02-14T08:00:00Z, 30.0 days" in text
    assert all(key_id.hex() in text for key_id in KEY_SET.keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"gatelight_key_set_to_sign": 2},
        {"version": "7"},
        {"version": True},
        {"issued_at": 1_800_000_000},
        {"issued_at": "yesterday"},
        {"expires_at": None},
        {"keys": {}},
        {"keys": [{}]},
        {"keys": [{"key_id": "00", "public_key": "zz"}]},
        {"keys": [{"key_id": "0011223344556677", "public_key": KEYS[0].public_key.hex()}]},
        {"comment": "and something that nobody looks at"},
    ],
)
def test_a_file_that_export_did_not_write_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SetupError):
        read_export(exported(**changes))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b"[" * 9_000, b" " * 16_385])
def test_a_file_that_is_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(SetupError):
        read_export(text)


def test_a_key_set_that_no_verifier_would_take_is_not_signed(root_key: Path) -> None:
    refused: list[dict[str, object]] = [{"keys": []}, {"version": 0}, {"expires_at": "2020-01-01T00:00:00Z"}]
    for changes in refused:
        with pytest.raises(SetupError, match="no verifier"):
            sign_offline(read_export(exported(**changes)), root_key=root_key, passphrase=PASSPHRASE)


def test_the_root_does_not_sign_itself_in(root_key: Path) -> None:
    own = KeySet.of(version=1, issued_at=0, expires_at=60, keys=[VerifyingKey(ROOT.public_key)])
    with pytest.raises(SetupError, match="never codes"):
        sign_offline(own, root_key=root_key, passphrase=PASSPHRASE)


def test_a_wrong_passphrase_and_a_key_for_another_purpose_sign_nothing(
    root_key: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyFileError):
        sign_offline(KEY_SET, root_key=root_key, passphrase=b"wrong horse")
    other = tmp_path / "signing.key"
    write_key_file(other, ROOT_SECRET, purpose=Purpose.SIGNING, passphrase=PASSPHRASE)
    with pytest.raises(KeyFileError):
        sign_offline(KEY_SET, root_key=other, passphrase=PASSPHRASE)


@pytest.mark.parametrize("payload", [b"", b"\xa0", b"\xff", encode_payload(KEY_SET) + b"\0"])
def test_what_is_no_payload_is_not_exported(payload: bytes) -> None:
    with pytest.raises(KeySetError):
        export_text(payload)
