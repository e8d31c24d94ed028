"""Counts of archived scans by gate and quarter of an hour.

Counted from the scans when asked, gate by gate along their index, so that a page costs what it shows, however
much there is behind it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, case, func, select

from issuer.register.database import Database
from issuer.register.scans import IS_NO_SHOWING, at_gate, gate_and_lane
from issuer.register.schema import credentials, scans

QUARTER_MS = 900_000
# A day of a gate is counted at a time.
_QUARTERS_AT_ONCE = 96
# Looked at for one page. Gates without a scan in the time asked for show nothing, and cost something.
_GATES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class QuarterStats:
    """The scans of a quarter of an hour at one gate, its lanes included."""

    gate_id: bytes
    quarter_at: int  # Unix seconds
    people: int  # different holders; a credential that is not on the register is one, too
    verdicts: Mapping[int, int]  # scans by verdict
    colours: Mapping[int, int]  # scans by colour, 0 for none


class StatsPlace(NamedTuple):
    """Where a page of counts ended."""

    gate: bytes
    from_ms: int


class ScanStats:
    """Counts scans. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def page(
        self, *, gate_id: bytes, from_ms: int, to_ms: int, page_size: int, after: StatsPlace | None = None
    ) -> tuple[Sequence[QuarterStats], StatsPlace | None]:
        """Return counts in order of gate and time, and where the next page begins; None: there is no more.

        A page may be shorter than asked for, and even empty, with more behind it. An empty `gate_id` stands
        for all gates; scans are counted from `from_ms` on and before `to_ms`. Raises RegisterUnavailable.
        """
        found: list[QuarterStats] = []
        with self._database.read() as connection:
            for number, (gate, begin_ms) in enumerate(_gates(connection, gate_id, from_ms, after)):
                if number == _GATES_AT_ONCE:
                    return found, StatsPlace(gate, begin_ms)
                place: StatsPlace | None = StatsPlace(gate, begin_ms)
                while place is not None:
                    if len(found) >= page_size:
                        return found, place
                    some, place = _some_quarters(
                        connection, gate_id or gate, place, to_ms, page_size - len(found)
                    )
                    found += some
        return found, None


def _gates(
    connection: Connection, gate_id: bytes, from_ms: int, after: StatsPlace | None
) -> Iterator[StatsPlace]:
    """Yield the gates to count, each with the moment from which on."""
    if gate_id:
        yield after or StatsPlace(gate_and_lane(gate_id)[0], from_ms)
        return
    if after is not None:
        yield after
    gate = b"" if after is None else after.gate
    following = select(scans.c.gate).order_by(scans.c.gate).limit(1)
    while found := connection.scalar(following.where(scans.c.gate > gate)):
        gate = found
        yield StatsPlace(gate, from_ms)


def _some_quarters(
    connection: Connection, gate_id: bytes, place: StatsPlace, to_ms: int, limit: int
) -> tuple[Sequence[QuarterStats], StatsPlace | None]:
    """Return the next quarters of a gate, `limit` at most, and where they go on; None: no further."""
    at = at_gate(gate_id)
    moment = scans.c.verified_at_ms
    first_ms = connection.scalar(
        select(moment).where(*at, moment >= place.from_ms, moment < to_ms).order_by(moment).limit(1)
    )
    if first_ms is None:
        return (), None
    until_ms = (first_ms // QUARTER_MS + min(limit, _QUARTERS_AT_ONCE)) * QUARTER_MS
    quarter = (moment // QUARTER_MS).label("quarter")
    # Not before the beginning: a quarter that is cut by it is counted from there on.
    counted = (*at, moment >= max(place.from_ms, 0), moment < min(until_ms, to_ms))
    # Below 0 there are no ids of holders.
    holder = func.coalesce(credentials.c.holder_id, -func.nullif(scans.c.credential_index, 0))
    shown = case((scans.c.verdict.not_in(IS_NO_SHOWING), holder))
    with_holders = scans.outerjoin(credentials, credentials.c.credential_index == scans.c.credential_index)
    people = {
        row.quarter: row.people
        for row in connection.execute(
            select(quarter, func.count(shown.distinct()).label("people"))
            .select_from(with_holders)
            .where(*counted)
            .group_by(quarter)
        )
    }
    verdicts: dict[int, Counter[int]] = {number: Counter() for number in people}
    colours: dict[int, Counter[int]] = {number: Counter() for number in people}
    for row in connection.execute(
        select(quarter, scans.c.verdict, scans.c.colour, func.count().label("scans"))
        .where(*counted)
        .group_by(quarter, scans.c.verdict, scans.c.colour)
    ):
        verdicts[row.quarter][row.verdict] += row.scans
        colours[row.quarter][row.colour] += row.scans
    stats = [
        QuarterStats(gate_id, number * QUARTER_MS // 1000, people[number], verdicts[number], colours[number])
        for number in sorted(people)
    ]
    return stats, StatsPlace(place.gate, until_ms) if until_ms < to_ms else None
