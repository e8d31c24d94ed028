"""The status of holders: what changes it, what it is, and how it became so.

Every change is appended to the history (issuer/register/history.py), replaces the holder's status whole,
and puts the credentials of the holder into the outbox, all in one transaction. A test changes no colour,
and the newest test stays, whatever the order of arrival. Nobody can change the status of a holder who
was erased; the issuer itself still ends one's colour.

Every method raises RegisterUnavailable. Times are Unix seconds.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, func, select, text

from issuer.errors import FailedPrecondition, InvalidArgument, NotFound
from issuer.register.allowances import (
    HOUR_S,
    ImportRequest,
    OpenAllowance,
    Unlimited,
    changed_without_consent,
    find_import_request,
    read_import_payload,
)
from issuer.register.changes import Origin, carry_out, find_problem, read_people
from issuer.register.database import Database
from issuer.register.entries import ChangeSource, HolderStatus, RowsEntered, StatusChange, StatusChangeEntry
from issuer.register.history import Finding, Head, Progress, verify
from issuer.register.import_rows import RowRefused
from issuer.register.schema import holder_status, holders, status_changes
from issuer.register.status_batch import StatusBatch
from verifier.wire.status_record import Colour

# Who ends a colour whose valid_until has come.
ISSUER_ITSELF = "gatelight"

_NO_STATUS = HolderStatus(Colour.NONE, 0, 0)
# Word for word as in the index, or SQLite does not use it.
_RED_BY_HAND = text("source = 1 AND colour = 3")


class Statuses:
    """The status of all holders."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def set(
        self,
        changes: Sequence[StatusChange],
        *,
        operator: str,
        source: ChangeSource,
        now: int,
        approval_id: int | None = None,
        connection: Connection | None = None,
    ) -> int:
        """Carry out changes in this order, all or none; return the last outbox seq, 0 for none.

        Each has a holder_id. In the transaction of `connection` where one is given. Raises NotFound,
        FailedPrecondition for a holder who was erased, or InvalidArgument for a valid_until that has
        come; each names the entry.
        """
        if connection is None:
            with self._database.write() as own:
                return self.set(
                    changes,
                    operator=operator,
                    source=source,
                    now=now,
                    approval_id=approval_id,
                    connection=own,
                )
        required = _require_all(connection, changes, now=now)
        return carry_out(connection, required, Origin(operator, source, now, approval_id))[1]

    def set_if_allowed(
        self,
        changes: Sequence[StatusChange],
        *,
        operator: str,
        now: int,
        open_allowance: OpenAllowance,
    ) -> int | None:
        """Carry out changes by hand, or none where the allowance does not cover all of them: then None.

        Otherwise like `set`; it also raises where the allowance does not cover them.
        """
        with self._database.write() as connection:
            required = _require_all(connection, changes, now=now)
            allowance = open_allowance(connection)
            for holder_id, change in required:
                if allowance.take(holder_id, change.colour) is not None:
                    return None
            allowance.settle(connection)
            return carry_out(connection, required, Origin(operator, ChangeSource.MANUAL, now))[1]

    def enter_rows(
        self,
        rows: Sequence[StatusChange | RowRefused],
        *,
        operator: str,
        now: int,
        open_allowance: OpenAllowance,
    ) -> RowsEntered:
        """Carry out a batch of an import row by row; each row has an external_id.

        A row whose external_id is known is left as it is, and takes nothing from the allowance. Raises
        what opening the allowance raises; then nothing was changed.
        """
        return self._enter(rows, operator, ChangeSource.IMPORT, now=now, open_allowance=open_allowance)

    def enter_tests(
        self, tests: Sequence[StatusChange | RowRefused], *, operator: str, now: int
    ) -> RowsEntered:
        """Enter a batch of negative tests row by row, as enter_rows does; each has the colour NONE."""
        return self._enter(tests, operator, ChangeSource.TEST, now=now, open_allowance=lambda _: Unlimited())

    def status(self, holder_id: int) -> HolderStatus:
        """Return the status of a holder; raises NotFound."""
        kept = holder_status
        query = (
            select(kept.c.colour, kept.c.reason, kept.c.last_negative_test_min, kept.c.valid_until)
            .join_from(holders, kept, isouter=True)
            .where(holders.c.id == holder_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"there is no holder {holder_id}")
        if row.colour is None:
            return _NO_STATUS
        return HolderStatus(Colour(row.colour), row.reason, row.last_negative_test_min, row.valid_until or 0)

    def changes_of(self, holder_id: int, *, limit: int, before_seq: int = 0) -> Sequence[StatusChangeEntry]:
        """Return up to `limit` changes of a holder, the newest first, with a seq below `before_seq`.

        0 is no bound. Raises NotFound.
        """
        query = select(status_changes).where(status_changes.c.holder_id == holder_id)
        if before_seq:
            query = query.where(status_changes.c.seq < before_seq)
        with self._database.read() as connection:
            if connection.scalar(select(holders.c.id).where(holders.c.id == holder_id)) is None:
                raise NotFound(f"there is no holder {holder_id}")
            rows = connection.execute(query.order_by(status_changes.c.seq.desc()).limit(limit)).all()
        return [
            StatusChangeEntry(
                seq=row.seq,
                change=StatusChange(
                    holder_id=row.holder_id,
                    colour=Colour(row.colour),
                    reason=row.reason,
                    authority=row.authority,
                    negative_test_min=row.negative_test_min,
                    evidence=row.evidence,
                    valid_until=row.valid_until,
                    external_id=row.external_id,
                ),
                operator=row.operator,
                source=ChangeSource(row.source),
                approval_id=row.approval_id or 0,
                changed_at=row.changed_at,
                own_hash=row.own_hash,
            )
            for row in rows
        ]

    def end_due(self, *, now: int, limit: int) -> tuple[int, int]:
        """Turn up to `limit` holders green whose colour's valid_until has come.

        Returns how many, and the last outbox seq. The end itself is no longer valid: `now` equal to
        valid_until ends the colour.
        """
        next_end = self.next_end()
        if next_end is None or next_end > now:
            return 0, 0  # without taking a turn as a writer
        due = holder_status.c.valid_until
        query = select(holder_status.c.holder_id).where(due <= now).order_by(due).limit(limit)
        ended = StatusChange(holder_id=None, colour=Colour.GREEN, reason=0, authority=ISSUER_ITSELF)
        with self._database.write() as connection:
            due_now = [(holder_id, ended) for holder_id in connection.scalars(query)]
            origin = Origin(ISSUER_ITSELF, ChangeSource.ENDED, now)
            return len(due_now), carry_out(connection, due_now, origin)[1]

    def next_end(self) -> int | None:
        """Return when the next colour ends; None: none does."""
        with self._database.read() as connection:
            due = holder_status.c.valid_until
            next_end: int | None = connection.scalar(select(func.min(due)).where(due.is_not(None)))
            return next_end

    def reds_by_hand(self, *, since: int) -> Mapping[str, int]:
        """Return how many changes to RED each operator made by hand after `since`."""
        changes = status_changes
        query = (
            select(changes.c.operator, func.count().label("reds"))
            .where(changes.c.changed_at > since, _RED_BY_HAND)
            .group_by(changes.c.operator)
        )
        with self._database.read() as connection:
            return {row.operator: row.reds for row in connection.execute(query)}

    def may_change(self, count: int, *, operator: str, limit: int, now: int) -> bool:
        """Tell whether an operator may change `count` more holders without a second person."""
        with self._database.read() as connection:
            changed = changed_without_consent(connection, operator, since=now - HOUR_S)
        return len(changed) + count <= limit

    def import_request(self, *, client_id: int, payload: bytes, now: int) -> ImportRequest | None:
        """Return what came of the same request for consent, if it was made (allowances.py)."""
        with self._database.read() as connection:
            return find_import_request(connection, client_id=client_id, payload=payload, now=now)

    def import_payload(self, approval_id: int) -> bytes:
        """Return what was asked for with a request for consent; empty: there is none (allowances.py)."""
        with self._database.read() as connection:
            return read_import_payload(connection, approval_id)

    def verify_history(self, *, expected_head: Head | None = None) -> Iterator[Progress | Finding]:
        """Verify the history of all holders; see history.py."""
        return verify(self._database, expected_head=expected_head)

    def _enter(
        self,
        rows: Sequence[StatusChange | RowRefused],
        operator: str,
        source: ChangeSource,
        *,
        now: int,
        open_allowance: OpenAllowance,
    ) -> RowsEntered:
        with self._database.write() as connection:
            allowance = open_allowance(connection)
            batch = StatusBatch(connection, rows, source=source, allowance=allowance, now=now)
            origin = Origin(operator, source, now, allowance.approval_id)
            if batch.accepted:
                allowance.settle(connection)
            seqs, outbox_seq = carry_out(connection, batch.accepted, origin)
        return batch.outcome.entered(seqs, outbox_seq)


def _require_all(
    connection: Connection, changes: Sequence[StatusChange], *, now: int
) -> Sequence[tuple[int, StatusChange]]:
    """Return the changes with their holder_ids; raises NotFound, FailedPrecondition or InvalidArgument."""
    people = read_people(connection, changes)
    required = []
    for number, change in enumerate(changes):
        entry = f"changes[{number}]"
        holder = people.find(change)
        if holder is None:
            raise NotFound(f"{entry}.holder_id: there is no holder {change.holder_id}")
        if holder.is_erased:
            raise FailedPrecondition(f"{entry}.holder_id: holder {change.holder_id} was erased")
        if problem := find_problem(change, holder, now=now):
            raise InvalidArgument(f"{entry}.{problem.field}", problem.text)
        required.append((holder.holder_id, change))
    return required
