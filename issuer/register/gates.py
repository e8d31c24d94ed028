"""Gates, what they are known by, and the groups that they belong to.

Each change raises the version of the gate list in its own transaction, so none can be acknowledged and then
be missing in the list that is signed next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Select, delete, func, insert, select, update

from issuer.errors import FailedPrecondition, NotFound
from issuer.register.database import Database
from issuer.register.gate_list import policy_of, raise_version
from issuer.register.schema import gate_credentials, gate_groups, gates
from verifier.verdict import Policy
from verifier.wire.gate_list import MAX_GATES, MAX_GROUPS

# The one that it has, and the one that takes its place.
MAX_CREDENTIALS = 2


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group of gates."""

    name: str
    policy: Policy
    gates: int  # how many belong to it


@dataclass(frozen=True, slots=True)
class GateCredential:
    """What a gate is known by."""

    sha256: bytes  # of its bearer key, or of its certificate (DER)
    is_certificate: bool


@dataclass(frozen=True, slots=True)
class GateEntry:
    """A gate."""

    gate_id: str
    group: str
    credentials: Sequence[GateCredential]  # the oldest first
    added_at: int  # Unix seconds


class Gates:
    """Adds, changes and lists gates and groups. Threads share it; every method raises RegisterUnavailable."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def add_group(self, name: str, policy: Policy, *, now: int) -> None:
        """Add a group; raises FailedPrecondition. `now` is Unix seconds, here and below."""
        with self._database.write() as connection:
            if _has_group(connection, name):
                raise FailedPrecondition(f"there is a group {name} already")
            if _count(connection, gate_groups.c.name) >= MAX_GROUPS:
                raise FailedPrecondition(f"there are {MAX_GROUPS} groups, and a gate list holds no more")
            connection.execute(insert(gate_groups).values(name=name, **_columns(policy)))
            raise_version(connection, now=now)

    def set_policy(self, name: str, policy: Policy, *, now: int) -> None:
        """Replace the policy of a group; raises NotFound."""
        with self._database.write() as connection:
            _require_group(connection, name)
            connection.execute(
                update(gate_groups).where(gate_groups.c.name == name).values(**_columns(policy))
            )
            raise_version(connection, now=now)

    def remove_group(self, name: str, *, now: int) -> None:
        """Remove a group; raises NotFound, or FailedPrecondition while gates belong to it."""
        with self._database.write() as connection:
            _require_group(connection, name)
            of_the_group = select(func.count()).select_from(gates).where(gates.c.group_name == name)
            if count := connection.scalar(of_the_group):
                raise FailedPrecondition(f"gates belong to group {name} ({count}): move or remove them first")
            connection.execute(delete(gate_groups).where(gate_groups.c.name == name))
            raise_version(connection, now=now)

    def groups(self) -> Sequence[GroupEntry]:
        """Return the groups, by name."""
        query = (
            select(gate_groups, func.count(gates.c.gate_id).label("gates"))
            .select_from(gate_groups.outerjoin(gates))
            .group_by(*gate_groups.c)
            .order_by(gate_groups.c.name)
        )
        with self._database.read() as connection:
            return [GroupEntry(row.name, policy_of(row), row.gates) for row in connection.execute(query)]

    def add(self, gate_id: str, group: str, credential: GateCredential, *, now: int) -> None:
        """Add a gate; raises NotFound for its group, or FailedPrecondition."""
        with self._database.write() as connection:
            _require_group(connection, group)
            if _has_gate(connection, gate_id):
                raise FailedPrecondition(f"there is a gate {gate_id} already")
            if _count(connection, gates.c.gate_id) >= MAX_GATES:
                raise FailedPrecondition(f"there are {MAX_GATES} gates, and a gate list holds no more")
            _require_free(connection, credential)
            connection.execute(insert(gates).values(gate_id=gate_id, group_name=group, added_at=now))
            _add_credential(connection, gate_id, credential, now=now)
            raise_version(connection, now=now)

    def add_credential(self, gate_id: str, credential: GateCredential, *, now: int) -> None:
        """Give a gate a further credential; raises NotFound or FailedPrecondition."""
        with self._database.write() as connection:
            _require_gate(connection, gate_id)
            if len(_credentials_of(connection, [gate_id])) >= MAX_CREDENTIALS:
                raise FailedPrecondition(
                    f"gate {gate_id} has {MAX_CREDENTIALS} credentials: take the old one away first"
                )
            _require_free(connection, credential)
            _add_credential(connection, gate_id, credential, now=now)
            raise_version(connection, now=now)

    def remove_credential(self, gate_id: str, credential: GateCredential, *, now: int) -> None:
        """Take a credential from a gate; raises NotFound, or FailedPrecondition for its only one."""
        with self._database.write() as connection:
            _require_gate(connection, gate_id)
            held = [held for _, held in _credentials_of(connection, [gate_id])]
            if credential not in held:
                raise NotFound(f"gate {gate_id} has no such credential")
            if len(held) == 1:
                raise FailedPrecondition(
                    f"it is the only credential of gate {gate_id}: give it another one first, or remove it"
                )
            connection.execute(delete(gate_credentials).where(gate_credentials.c.sha256 == credential.sha256))
            raise_version(connection, now=now)

    def move(self, gate_id: str, group: str, *, now: int) -> None:
        """Put a gate into another group; raises NotFound for either."""
        with self._database.write() as connection:
            _require_gate(connection, gate_id)
            _require_group(connection, group)
            connection.execute(update(gates).where(gates.c.gate_id == gate_id).values(group_name=group))
            raise_version(connection, now=now)

    def remove(self, gate_id: str, *, now: int) -> None:
        """Remove a gate; raises NotFound."""
        with self._database.write() as connection:
            _require_gate(connection, gate_id)
            connection.execute(delete(gate_credentials).where(gate_credentials.c.gate_id == gate_id))
            connection.execute(delete(gates).where(gates.c.gate_id == gate_id))
            raise_version(connection, now=now)

    def page(
        self,
        *,
        group: str,
        page_size: int,
        after_gate_id: str,
        gate_id: str = "",
        credential: GateCredential | None = None,
    ) -> tuple[Sequence[GateEntry], bool]:
        """Return gates by gate_id, and whether there are more.

        An empty `group` or `gate_id`, or no `credential`, stands for all, an empty `after_gate_id` for the
        first page. Raises NotFound for a group that is not there.
        """
        query = select(gates).order_by(gates.c.gate_id).limit(page_size + 1)
        if group:
            query = query.where(gates.c.group_name == group)
        if gate_id:
            query = query.where(gates.c.gate_id == gate_id)
        if credential is not None:
            query = query.where(gates.c.gate_id.in_(_known_by(credential)))
        if after_gate_id:
            query = query.where(gates.c.gate_id > after_gate_id)
        with self._database.read() as connection:
            if group:
                _require_group(connection, group)
            rows = connection.execute(query).all()
            found = rows[:page_size]
            credentials: dict[str, list[GateCredential]] = {row.gate_id: [] for row in found}
            for its_gate_id, held in _credentials_of(connection, list(credentials)):
                credentials[its_gate_id].append(held)
        entries = [
            GateEntry(row.gate_id, row.group_name, credentials[row.gate_id], row.added_at) for row in found
        ]
        return entries, len(rows) > page_size


def _columns(policy: Policy) -> dict[str, int | None]:
    age_s = policy.max_status_age_s
    return {
        "max_test_age_s": policy.max_test_age_s,
        "max_status_age_ms": None if age_s is None else round(1_000 * age_s),
        "yellow_opens": policy.yellow_opens,
        "is_one_entry": policy.is_one_entry,
        "paper_entry_s": policy.paper_entry_s,
    }


def _has_group(connection: Connection, name: str) -> bool:
    return connection.scalar(select(gate_groups.c.name).where(gate_groups.c.name == name)) is not None


def _require_group(connection: Connection, name: str) -> None:
    if not _has_group(connection, name):
        raise NotFound(f"there is no group {name}")


def _has_gate(connection: Connection, gate_id: str) -> bool:
    return connection.scalar(select(gates.c.gate_id).where(gates.c.gate_id == gate_id)) is not None


def _require_gate(connection: Connection, gate_id: str) -> None:
    if not _has_gate(connection, gate_id):
        raise NotFound(f"there is no gate {gate_id}")


def _known_by(credential: GateCredential) -> Select[tuple[str]]:
    return select(gate_credentials.c.gate_id).where(gate_credentials.c.sha256 == credential.sha256)


def _require_free(connection: Connection, credential: GateCredential) -> None:
    if (gate_id := connection.scalar(_known_by(credential))) is not None:
        raise FailedPrecondition(f"gate {gate_id} is known by this key or certificate: make a new one")


def _add_credential(connection: Connection, gate_id: str, credential: GateCredential, *, now: int) -> None:
    connection.execute(
        insert(gate_credentials).values(
            sha256=credential.sha256,
            gate_id=gate_id,
            is_certificate=credential.is_certificate,
            added_at=now,
        )
    )


def _credentials_of(connection: Connection, gate_ids: Sequence[str]) -> Sequence[tuple[str, GateCredential]]:
    """Return the credentials of up to 1 000 gates, each with its gate_id, the oldest first."""
    query = (
        select(gate_credentials)
        .where(gate_credentials.c.gate_id.in_(gate_ids))
        .order_by(gate_credentials.c.added_at, gate_credentials.c.sha256)
    )
    return [
        (row.gate_id, GateCredential(bytes(row.sha256), row.is_certificate))
        for row in connection.execute(query)
    ]


def _count(connection: Connection, column: Column[str]) -> int:
    return connection.scalar(select(func.count(column))) or 0
