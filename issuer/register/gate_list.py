"""What the register knows of the gate list: its version, and everything that the next one says.

A version is never below the time at which it was given, so that it goes on upwards also where the register
was restored from a backup that knows nothing of the last ones (as for key sets: issuer/keys/rotation.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from issuer.register.schema import gate_credentials, gate_groups, gate_list, gates
from verifier.verdict import Policy
from verifier.wire.code import MAX_U32
from verifier.wire.gate_list import ListedGate


@dataclass(frozen=True, slots=True)
class Listed:
    """What the next gate list says, at one instant."""

    version: int
    issued_at: int  # Unix seconds
    groups: Mapping[str, Policy]
    gates: Sequence[ListedGate]


def read_version(connection: Connection) -> int:
    """Return the version of the newest list, signed already or about to be; 0 before the first."""
    return connection.scalar(select(gate_list.c.version)) or 0


def raise_version(connection: Connection, *, now: int) -> None:
    """Have a list of a higher version signed; belongs into the transaction of the change. Unix seconds."""
    before = connection.execute(select(gate_list.c.version, gate_list.c.issued_at)).first()
    version, issued_at = (0, 0) if before is None else before
    values = {
        # A clock that is a century ahead must not use up the versions there are.
        "version": max(version + 1, now) if now < MAX_U32 else version + 1,
        "issued_at": max(issued_at, now),
    }
    connection.execute(
        insert(gate_list).values(id=1, **values) if before is None else update(gate_list).values(values)
    )


def read_listed(connection: Connection) -> Listed:
    """Return what the next gate list says; there is a version."""
    version, issued_at = connection.execute(select(gate_list.c.version, gate_list.c.issued_at)).one()
    policies = {row.name: policy_of(row) for row in connection.execute(select(gate_groups))}
    of_a_gate = (gates.c.gate_id, gates.c.group_name, gate_credentials.c.sha256)
    rows = connection.execute(
        select(*of_a_gate, gate_credentials.c.is_certificate)
        .select_from(gates.outerjoin(gate_credentials))
        .order_by(gates.c.gate_id)
    )
    listed = []
    for (gate_id, group), credentials in groupby(rows, key=lambda row: (row[0], row[1])):
        known_by = [(bytes(sha256), is_certificate) for _, _, sha256, is_certificate in credentials if sha256]
        keys = tuple(sha256 for sha256, is_certificate in known_by if not is_certificate)
        certificates = tuple(sha256 for sha256, is_certificate in known_by if is_certificate)
        listed.append(ListedGate(gate_id, group, keys, certificates))
    return Listed(version, issued_at, policies, listed)


def policy_of(group: Row[Any]) -> Policy:
    """Return the policy in a row of gate_groups."""
    age_ms = group.max_status_age_ms
    return Policy(
        max_test_age_s=group.max_test_age_s,
        max_status_age_s=None if age_ms is None else age_ms / 1_000,
        yellow_opens=group.yellow_opens,
        is_one_entry=group.is_one_entry,
        paper_entry_s=group.paper_entry_s,
    )
