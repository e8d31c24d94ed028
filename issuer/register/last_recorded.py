"""When the register was last written to, as far as it says: what the clock is compared with at a start."""

from sqlalchemy import select, union_all

from issuer.register.database import Database
from issuer.register.schema import calls, holders, status_changes

_MOMENTS = (
    (status_changes.c.changed_at, status_changes.c.seq),
    (calls.c.called_at, calls.c.seq),
    (holders.c.enrolled_at, holders.c.id),
)


def last_recorded_at(database: Database) -> int | None:
    """Return the latest of the last change, call and enrolment, Unix seconds; None: there is none of them.

    Raises RegisterUnavailable.
    """
    lasts = [
        select(select(moment).order_by(key.desc()).limit(1).scalar_subquery().label("moment"))
        for moment, key in _MOMENTS
    ]
    with database.read() as connection:
        moments = [moment for moment in connection.scalars(union_all(*lasts)) if moment is not None]
    return max(moments, default=None)
