"""Commands on gates: which may ask verifiers, what they are known by, and the group of each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from issuer import requests
from issuer.cli.errors import Refused
from issuer.cli.known_by import certificate_sha256, new_key, require_one
from issuer.cli.moments import time_field
from issuer.cli.options import FILE, limited
from issuer.cli.session import Session, asks_issuer, changes
from issuer.errors import InvalidArgument
from issuer.v1 import admin_pb2
from issuer.v1 import gates_pb2 as pb

_COLUMNS = ("gate_id", "group", "credentials", "added_at")
# As `client` shows them: enough for people to compare.
_SHOWN_DIGITS = 16
_MIN_PREFIX_DIGITS = 4


@click.group()
def gate() -> None:
    """Gates: who may ask verifiers, where those want to know it."""


def known_by(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --key-to and --certificate."""
    key_to = click.option("--key-to", type=FILE, help="Write the new key there.  [default: shows it, once]")
    certificate = click.option(
        "--certificate", type=FILE, help="Know it by its TLS certificate (PEM), and make no key."
    )
    return key_to(certificate(command))


@gate.command("add")
@click.argument("gate_id")
@click.option("--group", required=True, help="The group it belongs to, whose policy holds there.")
@known_by
@changes
@asks_issuer
def add_gate(
    session: Session, *, gate_id: str, group: str, key_to: Path | None, certificate: Path | None, apply: bool
) -> None:
    """Add a gate. Verifiers let it in within seconds.

    Its key is made here and written to a file, or shown once; the issuer keeps no more than its hash. A hub
    with several lanes is one gate: it names them north-3/1, north-3/2 and so on by itself.

    Example: gatelight-issuer gate add north-3 --group stations --key-to north-3.key --apply
    """
    require_one(key_to, certificate, whose="gate")
    sha256 = None if certificate is None else certificate_sha256(certificate)
    try:
        requests.gate_id(gate_id)
    except InvalidArgument as refusal:
        raise Refused(f"{refusal}. Mend that, and try again.") from None
    if not any(one.name == group for one in session.ask(_groups(session), pb.ListGroupsRequest()).groups):
        raise Refused(f"there is no group {group}: add it with `gatelight-issuer group add {group} --apply`")
    if _find(session, gate_id) is not None:
        raise Refused(f"there is a gate {gate_id} already: see `gatelight-issuer gate list`")
    _require_free(session, sha256)
    if session.is_agreed(f"add the gate {gate_id} to the group {group}", apply=apply):
        request = pb.AddGateRequest(gate_id=gate_id, group=group)
        _give(session, session.client.gates.AddGate, request, key_to, sha256)


@gate.command("renew")
@click.argument("gate_id")
@known_by
@changes
@asks_issuer
def renew_gate(
    session: Session, *, gate_id: str, key_to: Path | None, certificate: Path | None, apply: bool
) -> None:
    """Give a gate a further key or certificate, beside the one that it has.

    Bring it to the gate, and take the old one away then: gate drop-credential.

    Example: gatelight-issuer gate renew north-3 --key-to north-3-new.key --apply
    """
    require_one(key_to, certificate, whose="gate")
    sha256 = None if certificate is None else certificate_sha256(certificate)
    held = _credentials(_require(session, gate_id))
    if len(held) > 1:
        raise Refused(
            f"gate {gate_id} has two credentials: take the old one away first, `gatelight-issuer gate "
            f"drop-credential {gate_id} SHA256`; it has {_in_words(held)}"
        )
    _require_free(session, sha256)
    what = "key" if sha256 is None else "certificate"
    beside = f", beside {_in_words(held)}" if held else ""  # none: after a restore
    if session.is_agreed(f"give the gate {gate_id} a further {what}{beside}", apply=apply):
        request = pb.AddGateCredentialRequest(gate_id=gate_id)
        _give(session, session.client.gates.AddGateCredential, request, key_to, sha256)


@gate.command("drop-credential")
@click.argument("gate_id")
@click.argument("sha256")
@changes
@asks_issuer
def drop_credential(session: Session, *, gate_id: str, sha256: str, apply: bool) -> None:
    """Take a credential from a gate that has another one: verifiers refuse it within seconds.

    SHA256 is its hash as `gate list` shows it, or the first digits of it. To shut out a gate that has no
    other, remove it.

    Example: gatelight-issuer gate drop-credential north-3 9f86d081884c7d65 --apply
    """
    digits = sha256.lower()
    if len(digits) < _MIN_PREFIX_DIGITS:
        raise click.UsageError(f"expected a hash of `gate list`, or its first {_MIN_PREFIX_DIGITS} digits")
    held = _credentials(_require(session, gate_id))
    found = [(kind, own) for kind, own in held if own.hex().startswith(digits)]
    if len(found) != 1:
        raise Refused(f"gate {gate_id} has {len(found) or 'no'} credentials with a hash that begins so")
    if session.is_agreed(f"take {_in_words(found)} from the gate {gate_id}", apply=apply):
        request = pb.RemoveGateCredentialRequest(gate_id=gate_id)
        _set_credential(request, *found[0])
        answer = session.ask(session.client.gates.RemoveGateCredential, request)
        session.show_done({"gate": gate_id}, publication(answer))


@gate.command("move")
@click.argument("gate_id")
@click.argument("group")
@changes
@asks_issuer
def move_gate(session: Session, *, gate_id: str, group: str, apply: bool) -> None:
    """Put a gate into another group, whose policy holds there from then on.

    Example: gatelight-issuer gate move north-3 airports --apply
    """
    before = _require(session, gate_id).group
    if not any(one.name == group for one in session.ask(_groups(session), pb.ListGroupsRequest()).groups):
        raise Refused(f"there is no group {group}: see `gatelight-issuer group list`")
    if session.is_agreed(f"move the gate {gate_id} from the group {before} to {group}", apply=apply):
        request = pb.MoveGateRequest(gate_id=gate_id, group=group)
        answer = session.ask(session.client.gates.MoveGate, request)
        session.show_done({"gate": gate_id, "group": group}, publication(answer))


@gate.command("remove")
@click.argument("gate_id")
@changes
@asks_issuer
def remove_gate(session: Session, *, gate_id: str, apply: bool) -> None:
    """Remove a gate: verifiers refuse it within seconds. Its scans stay in the archive.

    Example: gatelight-issuer gate remove north-3 --apply
    """
    found = _require(session, gate_id)
    if session.is_agreed(f"remove the gate {gate_id} of the group {found.group}", apply=apply):
        answer = session.ask(session.client.gates.RemoveGate, pb.RemoveGateRequest(gate_id=gate_id))
        session.show_done({"gate": gate_id}, publication(answer))


@gate.command("list")
@click.option("--group", default="", help="Only those of this group.")
@limited
@asks_issuer
def list_gates(session: Session, *, group: str, limit: int | None) -> None:
    """List gates by their id, with the hashes of what they are known by.

    Example: gatelight-issuer gate list --group stations
    """
    is_json = session.is_json
    pages = (
        [_fields(one, is_json=is_json) for one in page] for page in _pages(session, group=group, limit=limit)
    )
    session.show_list(_COLUMNS, pages)


def publication(answer: Any) -> int:
    """Return whether a change of gates is in Redis, as session.show_done takes it."""
    return admin_pb2.PUBLICATION_PUBLISHED if answer.is_published else admin_pb2.PUBLICATION_PENDING


def _give(
    session: Session, method: Callable[[Any], Any], request: Any, key_to: Path | None, sha256: bytes | None
) -> None:
    """Have the issuer take a gate's credential: a certificate's hash, or that of a key made now."""
    told: dict[str, object] = {"gate": request.gate_id}
    if sha256 is not None:
        request.credential.certificate_sha256 = sha256
        answer = session.ask(method, request)
    else:
        with new_key(key_to, told) as request.credential.bearer_key_sha256:
            answer = session.ask(method, request)
    session.show_done(told, publication(answer))


def _groups(session: Session) -> Callable[[Any], Any]:
    method: Callable[[Any], Any] = session.client.gates.ListGroups
    return method


def _pages(session: Session, *, group: str = "", limit: int | None = None) -> Iterator[Any]:
    def go_on(request: pb.ListGatesRequest, last: pb.Gate) -> None:
        request.after_gate_id = last.gate_id

    request = pb.ListGatesRequest(group=group)
    return session.pages(session.client.gates.ListGates, request, items="gates", limit=limit, go_on=go_on)


def _find(session: Session, gate_id: str) -> pb.Gate | None:
    found = session.ask(session.client.gates.ListGates, pb.ListGatesRequest(gate_id=gate_id)).gates
    # An issuer before this field was there sends the first page of all.
    return next((one for one in found if one.gate_id == gate_id), None)


def _require(session: Session, gate_id: str) -> pb.Gate:
    found = _find(session, gate_id)
    if found is None:
        raise Refused(f"there is no gate {gate_id}: see `gatelight-issuer gate list`")
    return found


def _require_free(session: Session, certificate_sha256: bytes | None) -> None:
    """End the command if a gate is known by the certificate already; None: by a key that is made later."""
    if certificate_sha256 is None:
        return
    credential = pb.GateCredential(certificate_sha256=certificate_sha256)
    found = session.ask(session.client.gates.ListGates, pb.ListGatesRequest(credential=credential)).gates
    # As above of an older issuer, which refuses it then with --apply.
    its = next((one for one in found if credential in one.credentials), None)
    if its is not None:
        raise Refused(f"gate {its.gate_id} is known by this certificate: make a new one")


def _credentials(found: pb.Gate) -> list[tuple[str, bytes]]:
    """Return what a gate is known by: key or certificate, and its hash."""
    return [
        ("certificate", one.certificate_sha256)
        if one.HasField("certificate_sha256")
        else ("key", one.bearer_key_sha256)
        for one in found.credentials
    ]


def _set_credential(request: pb.RemoveGateCredentialRequest, kind: str, sha256: bytes) -> None:
    if kind == "certificate":
        request.credential.certificate_sha256 = sha256
    else:
        request.credential.bearer_key_sha256 = sha256


def _in_words(credentials: list[tuple[str, bytes]]) -> str:
    return ", ".join(f"{kind} {sha256.hex()[:_SHOWN_DIGITS]}" for kind, sha256 in credentials)


def _fields(found: pb.Gate, *, is_json: bool) -> dict[str, object]:
    credentials = _credentials(found)
    return {
        "gate_id": found.gate_id,
        "group": found.group,
        "credentials": (
            [{"kind": kind, "sha256": sha256.hex()} for kind, sha256 in credentials]
            if is_json
            else _in_words(credentials)
        ),
        "added_at": time_field(found.added_at, is_json=is_json),
    }
