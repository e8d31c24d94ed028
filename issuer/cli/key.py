"""Commands on signing keys. What changes something needs a second person; the rotation needs nobody."""

from collections.abc import Callable
from typing import Any

import click

from issuer.cli.errors import Refused
from issuer.cli.moments import as_time, time_field
from issuer.cli.options import confirm, confirmed
from issuer.cli.second_person import settle, waits
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import keys_pb2 as pb

_COLUMNS = ("key_id", "state", "signing", "published", "activated_at", "last_expires_at", "next_step")
_KEY_ID_DIGITS = 16
_MIN_PREFIX_DIGITS = 4


@click.group()
def key() -> None:
    """Signing keys: what codes are signed with. They rotate by themselves."""


@key.command("list")
@asks_issuer
def list_keys(session: Session) -> None:
    """List the signing keys, the newest first, and how the key set stands.

    Example: gatelight-issuer key list
    """
    answer = _list(session)
    is_json = session.is_json
    session.show_list(_COLUMNS, [[_key_fields(one, is_json=is_json) for one in answer.keys]])
    if is_json:
        return
    standing = answer.key_set
    root = "the root key is here" if standing.is_root_here else "the root key is kept elsewhere"
    click.echo(f"key set {standing.version}, valid until {as_time(standing.expires_at)}; {root}")
    if standing.is_stale:
        click.echo(
            "Another key set should be signed: `gatelight-issuer key-set export`, then `sign` where the root "
            "key is, then `import`.",
            err=True,
        )


@key.command("prepare")
@waits
@changes
@asks_issuer
def prepare_key(session: Session, *, wait_s: float, apply: bool) -> None:
    """Ask for a new key, in the key set ahead of its use.

    Example: gatelight-issuer key prepare --apply
    """
    _list(session)
    if session.is_agreed("ask for a new signing key, prepared in the next key set", apply=apply):
        _ask(session, session.client.keys.PrepareKey, pb.PrepareKeyRequest(), wait_s)


@key.command("activate")
@click.argument("key_id")
@waits
@changes
@asks_issuer
def activate_key(session: Session, *, key_id: str, wait_s: float, apply: bool) -> None:
    """Ask to sign with a prepared key from now on.

    Example: gatelight-issuer key activate 9f86d081884c7d65 --apply
    """
    found = _find(session, key_id)
    if found.state != pb.KEY_STATE_PREPARED:
        raise Refused(f"key {found.key_id.hex()} is {_state(found)}: only a PREPARED one can begin to sign")
    if session.is_agreed(f"ask to sign with key {found.key_id.hex()} from now on", apply=apply):
        _ask(session, session.client.keys.ActivateKey, pb.ActivateKeyRequest(key_id=found.key_id), wait_s)


@key.command("retire")
@click.argument("key_id")
@waits
@changes
@asks_issuer
def retire_key(session: Session, *, key_id: str, wait_s: float, apply: bool) -> None:
    """Ask to take a key out of the key set that signs no more.

    Example: gatelight-issuer key retire 9f86d081884c7d65 --apply
    """
    found = _find(session, key_id)
    if found.is_signing:
        raise Refused(f"key {found.key_id.hex()} is the one that signs: activate another one before")
    if session.is_agreed(f"ask to retire key {found.key_id.hex()}, now {_state(found)}", apply=apply):
        _ask(session, session.client.keys.RetireKey, pb.RetireKeyRequest(key_id=found.key_id), wait_s)


@key.command("revoke")
@click.argument("key_id")
@confirmed
@waits
@changes
@asks_issuer
def revoke_key(session: Session, *, key_id: str, yes: bool, wait_s: float, apply: bool) -> None:
    """Ask to revoke a key at once: its codes answer UNKNOWN_KEY at every gate within seconds.

    Phones fetch new codes by themselves; cards that were printed with the key are void.

    Example: gatelight-issuer key revoke 9f86d081884c7d65 --apply
    """
    found = _find(session, key_id)
    signs = ", the one that signs; another takes its place" if found.is_signing else ""
    plan = (
        f"ask to revoke key {found.key_id.hex()}, now {_state(found)}{signs}; every code of it is refused, "
        "and cards signed by it are void"
    )
    if session.is_agreed(plan, apply=apply):
        confirm("It cannot be undone. Go on?", is_sure=yes)
        _ask(session, session.client.keys.RevokeKey, pb.RevokeKeyRequest(key_id=found.key_id), wait_s)


@key.command("drill")
@click.option(
    "--bundles",
    type=click.IntRange(0, 100_000),
    default=1_000,
    show_default=True,
    help="How many to sign anew.",
)
@confirmed
@waits
@changes
@asks_issuer
def drill_keys(session: Session, *, bundles: int, yes: bool, wait_s: float, apply: bool) -> None:
    """Ask to play a whole compromise: revoke the key that signs, make another, sign bundles anew.

    It is a real revocation. The outcome of the request is its time line.

    Example: gatelight-issuer key drill --bundles 1000 --wait 600 --apply
    """
    signing = next((one for one in _list(session).keys if one.is_signing), None)
    which = f" {signing.key_id.hex()}" if signing is not None else ""
    plan = f"ask for a drill: revoke the key{which} that signs, make another, sign {bundles} bundles anew"
    if session.is_agreed(plan, apply=apply):
        confirm("All codes of that key are refused from then on. Go on?", is_sure=yes)
        _ask(session, session.client.keys.DrillKeys, pb.DrillKeysRequest(bundle_count=bundles), wait_s)


def _list(session: Session) -> pb.ListKeysResponse:
    answer: pb.ListKeysResponse = session.ask(session.client.keys.ListKeys, pb.ListKeysRequest())
    return answer


def _find(session: Session, text: str) -> pb.SigningKey:
    """Return the one key whose id begins so; ends the command without one."""
    digits = text.lower()
    if not _MIN_PREFIX_DIGITS <= len(digits) <= _KEY_ID_DIGITS:
        raise click.UsageError(
            f"expected a key_id of `key list`, or its first {_MIN_PREFIX_DIGITS} digits or more"
        )
    found = [one for one in _list(session).keys if one.key_id.hex().startswith(digits)]
    if len(found) != 1:
        problem = "no key" if not found else f"{len(found)} keys"
        raise Refused(f"there is {problem} with an id that begins so: see `gatelight-issuer key list`")
    return found[0]


def _ask(session: Session, method: Callable[[Any], Any], request: Any, wait_s: float) -> None:
    settle(session, session.ask(method, request).approval_id, wait_s=wait_s)


def _state(signing_key: pb.SigningKey) -> str:
    return pb.KeyState.Name(signing_key.state).removeprefix("KEY_STATE_")


def _key_fields(signing_key: pb.SigningKey, *, is_json: bool) -> dict[str, object]:
    times = {
        name: time_field(getattr(signing_key, name), is_json=is_json)
        for name in ("created_at", "published_at", "activated_at", "ended_at", "last_expires_at")
    }
    signing, published = signing_key.is_signing, signing_key.is_published
    return {
        "key_id": signing_key.key_id.hex(),
        "state": _state(signing_key),
        "signing": signing if is_json else _yes(is_so=signing),
        "published": published if is_json else _yes(is_so=published),
        **times,
        "next_step": signing_key.next_step,
    }


def _yes(*, is_so: bool) -> str:
    return "yes" if is_so else ""
