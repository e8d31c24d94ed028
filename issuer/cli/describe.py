"""Entries of the register as they are shown."""

from issuer.cli.moments import time_field
from issuer.v1 import admin_pb2 as pb
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour


def holder_fields(holder: pb.Holder, *, is_json: bool) -> dict[str, object]:
    """Return a holder as it is shown."""
    return {
        "holder_id": holder.holder_id,
        "name": holder.name,
        "document_type": holder.document_type,
        "document_last_four": holder.document_last_four,
        "region": holder.region,
        "guardian_id": holder.guardian_id or None,
        "external_id": holder.external_id,
        "enrolled_at": time_field(holder.enrolled_at, is_json=is_json),
        "erased_at": time_field(holder.erased_at, is_json=is_json),
    }


def credential_fields(credential: pb.Credential, *, is_json: bool) -> dict[str, object]:
    """Return a credential as it is shown."""
    return {
        "credential_index": credential.credential_index,
        "holder_id": credential.holder_id,
        "kind": CredentialKind(credential.kind).name,
        "generation": credential.generation,
        "state": state_name(credential),
        "app": credential.app,
        "issued_at": time_field(credential.issued_at, is_json=is_json),
        "valid_until": time_field(credential.valid_until, is_json=is_json),
        "external_id": credential.external_id,
    }


def status_fields(status: pb.Status, *, is_json: bool) -> dict[str, object]:
    """Return a status as it is shown."""
    return {
        "colour": colour_name(status.colour),
        "reason": status.reason if is_json else _reason(status),
        **({"reason_text": status.reason_text} if is_json else {}),
        "last_negative_test": time_field(status.last_negative_test, is_json=is_json),
        "valid_until": time_field(status.valid_until, is_json=is_json),
    }


def change_fields(change: pb.StatusChangeEntry, *, is_json: bool) -> dict[str, object]:
    """Return a change of status as it is shown."""
    return {
        "seq": change.seq,
        "changed_at": time_field(change.changed_at, is_json=is_json),
        "colour": colour_name(change.colour) if change.colour else "",
        "reason": change.reason or None,
        "negative_test_at": time_field(change.negative_test_at, is_json=is_json),
        "valid_until": time_field(change.valid_until, is_json=is_json),
        "authority": change.authority,
        "operator": change.operator,
        "evidence": change.evidence,
        "source": pb.ChangeSource.Name(change.source).removeprefix("CHANGE_SOURCE_"),
        "approval_id": change.approval_id or None,
        **({"holder_id": change.holder_id, "own_hash": change.own_hash.hex()} if is_json else {}),
    }


def planned_change_fields(change: pb.StatusChange, *, is_json: bool) -> dict[str, object]:
    """Return a change of status that waits for a second person as it is shown."""
    return {
        "holder_id": change.holder_id,
        "colour": colour_name(change.colour),
        "reason": change.reason or None,
        "valid_until": time_field(change.valid_until, is_json=is_json),
        "negative_test_at": time_field(change.negative_test_at, is_json=is_json),
        "authority": change.authority,
        "evidence": change.evidence,
    }


def state_name(credential: pb.Credential) -> str:
    """Return where a credential stands, in one word."""
    return pb.CredentialState.Name(credential.state).removeprefix("CREDENTIAL_STATE_")


def colour_name(colour: int) -> str:
    """Return the name of a colour; NONE where none was ever set."""
    return Colour(colour).name


def status_in_words(status: pb.Status) -> str:
    """Return a colour and its reason within a sentence."""
    if not status.colour:
        return "without a colour"
    reason = f", reason {_reason(status)}" if status.reason else ""
    return f"{colour_name(status.colour)}{reason}"


def _reason(status: pb.Status) -> str:
    if not status.reason:
        return ""
    return f"{status.reason} ({status.reason_text})" if status.reason_text else str(status.reason)
