"""Credentials on their way into the register: whether each may be issued, and the insert of all that may.

What they are compared with is read once for all of them. Every refusal begins with the field that is wrong;
whose it is, the caller adds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from issuer.access.roles import Role
from issuer.errors import FailedPrecondition, InvalidArgument, NotFound
from issuer.register.entries import CredentialStanding, NewCredential
from issuer.register.import_rows import find_rows, ids_by_external_id, insert_rows, take_ids
from issuer.register.schema import clients, credentials, holders

COLUMNS = (
    credentials.c.credential_index,
    credentials.c.holder_id,
    credentials.c.kind,
    credentials.c.generation,
    credentials.c.state,
    credentials.c.app_client_id,
    credentials.c.issued_at,
    credentials.c.valid_until,
    credentials.c.external_id,
)


class NewCredentials:
    """New credentials of one transaction: checked one by one, inserted together.

    Until then a new one goes by its place among them.
    """

    def __init__(self, connection: Connection, new: Sequence[NewCredential], *, now: int) -> None:
        self._now = now
        self._known = _read_known(connection, new)  # index, holder_id and kind by external_id
        self._holders = ids_by_external_id(connection, holders, (one.holder_external_id for one in new))
        self._erased = _read_erased(connection, {*self._holders.values(), *(one.holder_id for one in new)})
        self._apps = _read_apps(connection, {one.app for one in new if one.app is not None})
        self._places: dict[str, int] = {}  # of the new ones, by external_id
        self._rows: list[list[Any]] = []  # the values of COLUMNS

    def refuse_known_external_id(self, credential: NewCredential) -> None:
        """Raise FailedPrecondition if another has the external_id."""
        if credential.external_id is None:
            return
        if known := self._known.get(credential.external_id):
            raise FailedPrecondition(f"external_id: credential {known[0]} has it already")
        if credential.external_id in self._places:
            raise FailedPrecondition("external_id: an earlier entry has it already")

    def known_index(self, credential: NewCredential) -> int | None:
        """Return the index under which the credential was issued, None if not yet."""
        known = self._known.get(credential.external_id) if credential.external_id is not None else None
        if known is None:
            return None
        index, holder_id, kind = known
        if (holder_id, kind) != (self._holder_id(credential), credential.kind):
            raise FailedPrecondition(f"external_id: credential {index} has it, of another holder or kind")
        return index

    def place(self, credential: NewCredential) -> int | None:
        """Return the place of the credential among the new ones, None if not there yet."""
        place = self._places.get(credential.external_id) if credential.external_id is not None else None
        if place is not None and self._rows[place][1:3] != [self._holder_id(credential), credential.kind]:
            raise FailedPrecondition("external_id: an earlier row has it, of another holder or kind")
        return place

    def add(self, credential: NewCredential) -> int:
        """Take up a new credential and return its place; raises as `issue` does."""
        if credential.valid_until is not None and credential.valid_until <= self._now:
            raise InvalidArgument("valid_until", "expected a time in the future")
        holder_id = self._holder_id(credential)
        if self._erased[holder_id]:
            raise FailedPrecondition(f"{_holder_field(credential)}: holder {holder_id} was erased")
        app_client_id = None if credential.app is None else self._app_client_id(credential.app)
        place = len(self._rows)
        self._rows.append(
            [
                0,
                holder_id,
                int(credential.kind),
                1,
                int(CredentialStanding.ACTIVE),
                app_client_id,
                self._now,
                credential.valid_until,
                credential.external_id,
            ]
        )
        if credential.external_id is not None:
            self._places[credential.external_id] = place
        return place

    def insert(self, connection: Connection) -> Sequence[int]:
        """Insert all that were taken up; return their indices by place."""
        indices = take_ids(connection, credentials.c.credential_index, len(self._rows))
        for row, index in zip(self._rows, indices, strict=True):
            row[0] = index
        insert_rows(connection, COLUMNS, self._rows)
        return indices

    def _holder_id(self, credential: NewCredential) -> int:
        if credential.holder_external_id is not None:
            holder_id = self._holders.get(credential.holder_external_id)
            if holder_id is None:
                raise NotFound("holder_external_id: no holder has it")
            return holder_id
        holder_id = credential.holder_id
        if holder_id is None or holder_id not in self._erased:
            raise NotFound(f"holder_id: there is no holder {holder_id}")
        return holder_id

    def _app_client_id(self, app: str) -> int:
        if app not in self._apps:
            raise NotFound(f"app: there is no client {app}")
        client_id, refusal = self._apps[app]
        if refusal:
            raise FailedPrecondition(f"app: client {app} {refusal}")
        return client_id


def _holder_field(credential: NewCredential) -> str:
    return "holder_id" if credential.holder_external_id is None else "holder_external_id"


def _read_known(connection: Connection, new: Sequence[NewCredential]) -> Mapping[str, tuple[int, int, int]]:
    columns = (
        credentials.c.external_id,
        credentials.c.credential_index,
        credentials.c.holder_id,
        credentials.c.kind,
    )
    found = find_rows(connection, columns, credentials.c.external_id, (one.external_id for one in new))
    return {external_id: (index, holder_id, kind) for external_id, index, holder_id, kind in found}


def _read_erased(connection: Connection, holder_ids: Iterable[int | None]) -> Mapping[int, bool]:
    """Return whether each of the holders that exist was erased."""
    found = find_rows(connection, (holders.c.id, holders.c.erased_at), holders.c.id, holder_ids)
    return {holder_id: erased_at is not None for holder_id, erased_at in found}


def _read_apps(connection: Connection, names: Collection[str]) -> Mapping[str, tuple[int, str]]:
    """Return id of each of the clients that exist, and why it can't be given a credential; empty: it can."""
    if not names:
        return {}
    query = select(clients.c.name, clients.c.id, clients.c.roles, clients.c.revoked_at)
    apps: dict[str, tuple[int, str]] = {}
    for name, client_id, roles, revoked_at in connection.execute(query.where(clients.c.name.in_(names))):
        refusal = "was revoked" if revoked_at is not None else ""
        if Role.APP.name not in roles.split(","):
            refusal = "is no app"
        apps[name] = client_id, refusal
    return apps
