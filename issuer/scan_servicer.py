"""What staff ask about archived scans. Answers name credentials and gates, never persons.

Following a person through the city is what the archive could be abused for: searching is for auditors alone,
and the record of calls has which credential or time was asked for. What gates call themselves is anybody's
text, so the record does not have it.
"""

import base64
import binascii
import struct
from collections.abc import Callable
from typing import Any

from issuer.access.roles import Caller, Role
from issuer.answers import Gatekeeper, answers
from issuer.errors import InvalidArgument
from issuer.proto_enum import as_enum
from issuer.register.purges import PurgeEntry, Purges
from issuer.register.scan_stats import QuarterStats, ScanStats, StatsPlace
from issuer.register.scans import Place, ScanRow, Scans, gate_and_lane
from issuer.register.suspects import SuspectEntry, Suspects
from issuer.requests import MAX_ID, MAX_TIME, page_size
from issuer.v1 import scans_pb2 as pb
from issuer.v1.scans_pb2_grpc import ScanServiceServicer
from verifier.v1.scan_log_pb2 import ScanLogEntry

MAX_RETENTION_DAYS = 36_500
_DAY_MS = 86_400_000
_MAX_STATS_MS = 31 * _DAY_MS
_MAX_GATE_ID = 64
_MOMENT = struct.Struct(">q")


def _search_target(request: pb.SearchScansRequest) -> str:
    asked = [f"credential {request.credential_index}"] if request.credential_index else []
    if request.gate_id:
        asked.append("one gate")
    if request.verdict:
        asked.append(f"verdict {request.verdict}")
    if request.from_ms or request.to_ms:
        asked.append(f"{request.from_ms} to {request.to_ms}")
    return ", ".join(asked) or "all scans"


def _suspects_target(request: pb.ListSuspectsRequest) -> str:
    return f"credential {request.credential_index}" if request.credential_index else ""


def _purge_target(request: pb.PurgeScansRequest) -> str:
    return f"{request.retention_days} days{', only counted' if request.is_dry_run else ''}"


class ScanServicer(ScanServiceServicer):
    """The archive of scans, for auditors and operators."""

    def __init__(
        self,
        *,
        scans: Scans,
        stats: ScanStats,
        suspects: Suspects,
        purges: Purges,
        gatekeeper: Gatekeeper,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self.gatekeeper = gatekeeper
        self._scans = scans
        self._stats = stats
        self._suspects = suspects
        self._purges = purges
        self._clock = clock

    @answers(Role.AUDITOR, target=_search_target)
    def SearchScans(self, request: pb.SearchScansRequest, _caller: Caller) -> pb.SearchScansResponse:  # noqa: N802
        """Return a page of scans."""
        before = None
        if request.page_token:
            moment_ms, identity = _read_token(request.page_token)
            before = Place(moment_ms, identity)
        gate_id, from_ms = _gate_id(request.gate_id), _moment(request.from_ms, "from_ms")
        to_ms = _moment(request.to_ms, "to_ms")
        if gate_and_lane(gate_id)[1] and not request.credential_index:
            # No index knows lanes, and a hub may have millions of scans.
            until_ms = before.verified_at_ms if before else to_ms or int(self._clock() * 1000)
            if not from_ms or until_ms - from_ms > _DAY_MS:
                raise InvalidArgument("from_ms", "expected a moment at most a day before to_ms, for a lane")
        rows, next_place = self._scans.page(
            gate_id=gate_id,
            from_ms=from_ms,
            to_ms=to_ms,
            credential_index=request.credential_index,
            verdict=_verdict(request.verdict),
            page_size=page_size(request.page_size),
            before=before,
        )
        token = "" if next_place is None else _token(next_place.verified_at_ms, next_place.identity)
        return pb.SearchScansResponse(scans=map(_entry, rows), next_page_token=token)

    @answers(Role.AUDITOR, Role.OPERATOR)
    def GetScanStats(self, request: pb.GetScanStatsRequest, _caller: Caller) -> pb.GetScanStatsResponse:  # noqa: N802
        """Return a page of counts."""
        to_ms = _moment(request.to_ms, "to_ms") or int(self._clock() * 1000)
        from_ms = _moment(request.from_ms, "from_ms") or max(1, to_ms - _DAY_MS)
        if not 0 < to_ms - from_ms <= _MAX_STATS_MS:
            raise InvalidArgument("to_ms", "expected a moment after from_ms, by at most 31 days")
        after = None
        if request.page_token:
            moment_ms, gate = _read_token(request.page_token)
            after = StatsPlace(gate, max(from_ms, moment_ms))
        found, next_place = self._stats.page(
            gate_id=_gate_id(request.gate_id),
            from_ms=from_ms,
            to_ms=to_ms,
            page_size=page_size(request.page_size),
            after=after,
        )
        token = "" if next_place is None else _token(next_place.from_ms, next_place.gate)
        return pb.GetScanStatsResponse(stats=map(_quarter, found), next_page_token=token)

    @answers(Role.AUDITOR, Role.OPERATOR, target=_suspects_target)
    def ListSuspects(self, request: pb.ListSuspectsRequest, _caller: Caller) -> pb.ListSuspectsResponse:  # noqa: N802
        """Return a page of suspected copies."""
        entries, has_more = self._suspects.page(
            from_ms=_moment(request.from_ms, "from_ms"),
            credential_index=request.credential_index,
            page_size=page_size(request.page_size),
            before_seq=_seq(request.before_seq),
        )
        return pb.ListSuspectsResponse(suspects=map(_suspect, entries), has_more=has_more)

    @answers(Role.OPERATOR, target=_purge_target, is_long=True)
    def PurgeScans(  # noqa: N802
        self, request: pb.PurgeScansRequest, _caller: Caller, is_active: Callable[[], bool]
    ) -> pb.PurgeScansResponse:
        """Remove scans that are too old, or count them; stops when the client goes away."""
        retention_days = request.retention_days or self._retention_of_archive()
        if retention_days > MAX_RETENTION_DAYS:
            raise InvalidArgument("retention_days", f"expected 1 to {MAX_RETENTION_DAYS}")
        now = int(self._clock())
        purge = self._purges.count(retention_days=retention_days, now=now)
        if not request.is_dry_run:
            for purge in self._purges.run(retention_days=retention_days, now=now):  # noqa: B007 - the last one
                if not is_active():
                    break
        return pb.PurgeScansResponse(purge=_purge(purge))

    @answers(Role.AUDITOR, Role.OPERATOR)
    def ListPurges(self, request: pb.ListPurgesRequest, _caller: Caller) -> pb.ListPurgesResponse:  # noqa: N802
        """Return a page of reports of removals."""
        entries, has_more = self._purges.page(
            page_size=page_size(request.page_size), before_seq=_seq(request.before_seq)
        )
        return pb.ListPurgesResponse(purges=map(_purge, entries), has_more=has_more)

    def _retention_of_archive(self) -> int:
        last = self._purges.last_daily()
        if last is None:
            raise InvalidArgument("retention_days", "expected 1 or more: no archive has told its own yet")
        return last.retention_days


def _gate_id(text: str) -> bytes:
    if len(text) > _MAX_GATE_ID:
        raise InvalidArgument("gate_id", f"expected at most {_MAX_GATE_ID} characters, got {len(text)}")
    return text.encode()


def _moment(moment_ms: int, field: str) -> int:
    if not 0 <= moment_ms <= MAX_TIME * 1000:
        raise InvalidArgument(field, f"expected Unix milliseconds up to {MAX_TIME * 1000}, or 0")
    return moment_ms


def _verdict(verdict: int) -> int:
    # Newer verifiers may have more verdicts than this issuer knows.
    if verdict < 0:
        raise InvalidArgument("verdict", "expected a verdict, or none")
    return verdict


def _seq(seq: int) -> int:
    if seq > MAX_ID:
        raise InvalidArgument("before_seq", "expected less than 2^63")
    return seq


def _token(moment_ms: int, key: bytes) -> str:
    return base64.urlsafe_b64encode(_MOMENT.pack(moment_ms) + key).decode()


def _read_token(token: str) -> tuple[int, bytes]:
    try:
        content = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        (moment_ms,) = _MOMENT.unpack(content[: _MOMENT.size])
    except (ValueError, binascii.Error, struct.error):
        raise InvalidArgument("page_token", "expected the next_page_token of the page before") from None
    return moment_ms, content[_MOMENT.size :]


def _entry(row: ScanRow) -> ScanLogEntry:
    fields: dict[str, Any] = {
        name: value
        for name, value in row._asdict().items()
        if name not in {"identity", "scan_id", "gate", "lane"}
    }
    return ScanLogEntry(scan_id=row.scan_id.decode(), gate_id=row.gate_id.decode(), **fields)


def _quarter(stats: QuarterStats) -> pb.ScanStats:
    return pb.ScanStats(
        gate_id=stats.gate_id.decode(),
        quarter_at=stats.quarter_at,
        people=stats.people,
        verdicts=[
            pb.VerdictCount(verdict=as_enum(number), scans=count)
            for number, count in sorted(stats.verdicts.items())
        ],
        colours=[
            pb.ColourCount(colour=as_enum(number), scans=count)
            for number, count in sorted(stats.colours.items())
        ],
    )


def _suspect(entry: SuspectEntry) -> pb.Suspect:
    return pb.Suspect(
        seq=entry.seq,
        credential_index=entry.credential_index,
        kind=as_enum(entry.kind),
        first_gate_id=entry.first_gate_id.decode(),
        first_at_ms=entry.first_at_ms,
        second_gate_id=entry.second_gate_id.decode(),
        second_at_ms=entry.second_at_ms,
    )


def _purge(entry: PurgeEntry) -> pb.Purge:
    return pb.Purge(
        seq=entry.seq,
        purged_at=entry.purged_at,
        before_ms=entry.before_ms,
        scans=entry.scans,
        suspects=entry.suspects,
    )
