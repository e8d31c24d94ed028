"""What the register says about credentials, as the status records that verifiers read.

The one place where the two meet. Status belongs to the holder, and every credential of the holder
carries it: a person is red, not a card.
"""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, func, select, true

from issuer.register.schema import credentials, holder_status
from verifier.wire.status_record import GENERATION_MODULUS, Colour, CredentialState, StatusRecord, pack

# About a megabyte of rows in memory at a time.
_ROWS_PER_FETCH = 10_000

_COLUMNS = (
    select(
        credentials.c.credential_index,
        credentials.c.state,
        credentials.c.generation,
        func.coalesce(holder_status.c.colour, int(Colour.NONE)),
        func.coalesce(holder_status.c.reason, 0),
        func.coalesce(holder_status.c.last_negative_test_min, 0),
    )
    .select_from(credentials.outerjoin(holder_status, credentials.c.holder_id == holder_status.c.holder_id))
    .order_by(credentials.c.credential_index)
)


def read_records(
    connection: Connection, which: ColumnElement[bool] | None = None
) -> Iterator[tuple[int, int]]:
    """Give credential_index and record of the credentials that `which` selects, all without it, by index."""
    query = _COLUMNS.where(true() if which is None else which).execution_options(yield_per=_ROWS_PER_FETCH)
    for credential_index, state, generation, colour, reason, last_negative_test_min in connection.execute(
        query
    ):
        record = StatusRecord(
            Colour(colour),
            CredentialState(state),
            generation % GENERATION_MODULUS,
            reason,
            last_negative_test_min,
        )
        yield credential_index, pack(record)
