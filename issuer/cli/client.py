"""Commands on clients: who may call the issuer, and as what."""

from pathlib import Path

import click

from issuer.cli.errors import Refused
from issuer.cli.known_by import certificate_sha256, new_key, require_one
from issuer.cli.moments import time_field
from issuer.cli.options import FILE
from issuer.cli.second_person import settle, waits
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import access_pb2 as pb

_ROLES = ("app", "clerk", "approver", "operator", "auditor")
_COLUMNS = ("name", "roles", "known_by", "added_at", "revoked_at")


@click.group()
def client() -> None:
    """Clients: the persons and programs that may call the issuer."""


@client.command("add")
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice(_ROLES),
    multiple=True,
    required=True,
    help="One or more; app stands alone.",
)
@click.option("--key-to", type=FILE, help="Write the client's new key there.  [default: shows it, once]")
@click.option("--certificate", type=FILE, help="Know it by its TLS certificate (PEM), and make no key.")
@waits
@changes
@asks_issuer
def add_client(
    session: Session,
    *,
    name: str,
    roles: tuple[str, ...],
    key_to: Path | None,
    certificate: Path | None,
    wait_s: float,
    apply: bool,
) -> None:
    """Add a client. An approver, operator or clerk needs a second person; until then its key does not work.

    Its key is made here and shown once or written to a file; the issuer keeps no more than its hash.

    \b
    Roles: app       fetch the bundles of its own credentials; stands alone
           clerk     change holders, credentials and status
           approver  settle what needs a second person
           operator  keys, cache and clients
           auditor   read

    Example: gatelight-issuer client add li.wei --role clerk --key-to li.wei.key --apply
    """
    require_one(key_to, certificate, whose="client")
    if any(one.name == name for one in _clients(session)):
        raise Refused(f"there is or was a client {name}: choose another name, none is given twice")
    digest = None if certificate is None else certificate_sha256(certificate)
    plan = f"add the client {name}, {', '.join(roles)}"
    if not session.is_agreed(plan, apply=apply):
        return
    request = pb.AddClientRequest(name=name, roles=[f"ROLE_{role.upper()}" for role in dict.fromkeys(roles)])
    told: dict[str, object] = {"client": name}
    if digest is not None:
        request.certificate_sha256 = digest
        approval_id = session.ask(session.client.access.AddClient, request).approval_id
    else:
        with new_key(key_to, told) as request.bearer_key_sha256:
            approval_id = session.ask(session.client.access.AddClient, request).approval_id
    if not approval_id:
        session.show_done(told)
        return
    session.show({**({"applied": False} if session.is_json else {}), **told})
    if not session.is_json:
        what = "certificate" if digest is not None else "key"
        click.echo(f"The {what} works only once a second person has approved it.")
    settle(session, approval_id, wait_s=wait_s)


@client.command("list")
@asks_issuer
def list_clients(session: Session) -> None:
    """List all clients by name, revoked ones too.

    Example: gatelight-issuer client list
    """
    is_json = session.is_json
    shown = [
        {
            "name": one.name,
            "roles": roles if is_json else " ".join(roles),
            "known_by": "certificate" if one.has_certificate else "key",
            "added_at": time_field(one.added_at, is_json=is_json),
            "revoked_at": time_field(one.revoked_at, is_json=is_json),
        }
        for one in _clients(session)
        for roles in [[pb.Role.Name(role).removeprefix("ROLE_").lower() for role in one.roles]]
    ]
    session.show_list(_COLUMNS, [shown])


@client.command("revoke")
@click.argument("name")
@waits
@changes
@asks_issuer
def revoke_client(session: Session, *, name: str, wait_s: float, apply: bool) -> None:
    """Revoke a client for good. An approver or operator needs a second person.

    Example: gatelight-issuer client revoke li.wei --apply
    """
    found = next((one for one in _clients(session) if one.name == name), None)
    if found is None:
        raise Refused(f"there is no client {name}: see `gatelight-issuer client list`")
    if found.revoked_at:
        raise Refused(f"client {name} was revoked already: there is nothing left to do")
    if session.is_agreed(f"revoke the client {name} for good", apply=apply):
        answer = session.ask(session.client.access.RevokeClient, pb.RevokeClientRequest(name=name))
        if answer.approval_id:
            settle(session, answer.approval_id, wait_s=wait_s)
            return
        session.show_done({"client": name})


def _clients(session: Session) -> list[pb.Client]:
    return list(session.ask(session.client.access.ListClients, pb.ListClientsRequest()).clients)
