"""Where else a code was shown: the questions of issuer/archive/suspects.py.

Most codes are shown at one gate only, so the first question is asked of a thousand codes at once, and enters
the index of credentials once for each.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text

from issuer.register.address import SQLITE
from issuer.register.database import Database
from issuer.register.scans import IS_NO_SHOWING, ScanRow
from issuer.register.schema import scans

# SQLite takes 32 766 parameters.
_CODES_AT_ONCE = 1_000
# Of one code. A code that everybody has is shown more often, and is reported all the same.
_MAX_SHOWINGS = 1_000


class Code(NamedTuple):
    """A code that was shown."""

    credential_index: int
    code_hash: bytes
    gate: bytes  # one where it was shown
    from_ms: int  # from when on showings elsewhere matter
    to_ms: int  # until when, included


_NO_SHOWING = ", ".join(str(int(one)) for one in IS_NO_SHOWING)
_IS_ELSEWHERE = f"""credential_index = i AND credential_index > 0 AND verified_at_ms BETWEEN lo AND hi
    AND code_hash = h AND gate <> g AND verdict NOT IN ({_NO_SHOWING})"""
_ON_SQLITE = f"""WITH shown (n, i, h, g, lo, hi) AS (VALUES %s)
    SELECT n FROM shown WHERE EXISTS (SELECT 1 FROM scans WHERE {_IS_ELSEWHERE})"""  # noqa: S608
# LIMIT keeps it a look-up for each code, whatever the planner has heard of the table.
_ON_POSTGRESQL = f"""SELECT n FROM unnest(
        cast(%s AS bigint[]), cast(%s AS bigint[]), cast(%s AS bytea[]), cast(%s AS bytea[]),
        cast(%s AS bigint[]), cast(%s AS bigint[])
    ) AS shown (n, i, h, g, lo, hi)
    CROSS JOIN LATERAL (SELECT 1 FROM scans WHERE {_IS_ELSEWHERE} LIMIT 1) AS elsewhere"""  # noqa: S608


class Showings:
    """Reads the scans of codes. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def shown_elsewhere(self, codes: Sequence[Code]) -> Sequence[Code]:
        """Return those that were also shown at another gate in their time; raises RegisterUnavailable."""
        found: list[Code] = []
        for begin in range(0, len(codes), _CODES_AT_ONCE):
            some = codes[begin : begin + _CODES_AT_ONCE]
            with self._database.read() as connection:
                found += [some[n] for n in self._numbers(connection, some)]
        return found

    def of_code(self, code: Code) -> Sequence[ScanRow]:
        """Return the showings of a code in its time, the oldest first; raises RegisterUnavailable."""
        query = (
            select(scans)
            .where(
                scans.c.credential_index == code.credential_index,
                scans.c.credential_index > 0,
                scans.c.verified_at_ms.between(code.from_ms, code.to_ms),
                scans.c.code_hash == code.code_hash,
                scans.c.verdict.not_in(IS_NO_SHOWING),
            )
            .order_by(scans.c.verified_at_ms, scans.c.identity)
            .limit(_MAX_SHOWINGS)
        )
        with self._database.read() as connection:
            return [ScanRow._make(row) for row in connection.execute(query)]

    def _numbers(self, connection: Connection, codes: Sequence[Code]) -> Sequence[int]:
        rows = [(n, *code) for n, code in enumerate(codes)]
        parameters: tuple[Any, ...]
        if self._database.dialect == SQLITE:
            query = _ON_SQLITE % ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(rows))
            parameters = tuple(value for row in rows for value in row)
        else:
            # A table that grew by a million rows since it was looked at seems small enough to read whole.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            query, parameters = _ON_POSTGRESQL, tuple(list(column) for column in zip(*rows, strict=True))
        return [n for (n,) in connection.exec_driver_sql(query, parameters)]
