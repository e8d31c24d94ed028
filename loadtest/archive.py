"""`python -m loadtest archive`: a stream full of scans, into the register, beside an issuer that serves.

The stream is filled first, as shippers fill it. Then a real `gatelight-issuer archive` is started and timed
until the last batch is acknowledged, while statuses are changed over the issuer's socket, ten times a second:
on SQLite both processes write to one file. At the end every scan has to be in the register, once, and each
planted copy among the suspects.
"""

import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import redis
from rich.console import Console
from sqlalchemy import func, select

from issuer.register.database import Database
from issuer.register.schema import scans, suspects
from issuer.v1 import admin_pb2 as pb
from loadtest.processes import ServerProcess
from loadtest.stage import Stage, given_redis_url, stage
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.wire.scan_log import (
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    NUMBER_FIELD,
    SCANS_KEY,
    frame,
)

# The aim of a million entries, on two cores.
AIM_S = 60.0
_MILLION = 1_000_000
_JOURNAL = "00000000000000aa"
# 230 KiB of the 256 that a batch may have.
_BATCH = 1_500
_GATES = 500
_CREDENTIALS = 5_000_000
# One scan of so many is of a code that was shown at another gate a moment before.
_COPY_EVERY = 10_000
# A city of ten million at a thousand scans a second.
_SCANS_A_SECOND = 1_000
_CHANGE_EVERY_S = 0.1
_POLL_S = 0.05
_LONGEST_S = 900.0


def run(entries: int, register_url: str) -> int:
    """Archive so many scans; return the exit code: 1 if one is missing or twice."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="gatelight-archive-") as name:
        running_stage = stage(Path(name), redis_url=given_redis_url(), register_url=register_url)
        with running_stage as running, redis.Redis.from_url(running.redis.url) as client:
            console.print(f"Filling the stream with {entries:,} scans")
            batches, copies = _fill(client, entries)
            alone = _change_statuses(running, threading.Event(), count=30)
            seconds, during = _archive(running, client, batches)
            stored, suspected = _count(register_url or str(running.issuer_folder.register))
    where = "PostgreSQL" if register_url else "SQLite"
    aim = f"{AIM_S:.0f} s" if entries == _MILLION else f"{AIM_S:.0f} s/million"
    console.print(f"{entries:,} scans in {seconds:.1f} s, {entries / seconds:,.0f}/s, aim {aim}; {where}")
    console.print(f"  changing a status, alone: {_quantiles(alone)}")
    console.print(f"  while archiving:          {_quantiles(during)}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    console.print(f"{machine}; issuer, archive, register and Redis share it")
    wrong = []
    if stored != entries:
        wrong.append(f"{stored:,} scans are in the register")
    if suspected != copies:
        wrong.append(f"{suspected} of {copies} copies were reported")
    for what in wrong:
        console.print(f"[bold red]wrong:[/] {what}")
    return 1 if wrong else 0


def _fill(client: "redis.Redis", entries: int) -> tuple[int, int]:
    """Put scans into the stream; return how many batches they are, and how many are of copied codes."""
    batches = copies = 0
    batch: list[bytes] = []
    for number, entry in enumerate(_scans(entries), 1):
        batch.append(frame(entry.SerializeToString()))
        copies += number % _COPY_EVERY == 0
        if len(batch) == _BATCH or number == entries:
            batches += 1
            fields = {JOURNAL_FIELD: _JOURNAL, NUMBER_FIELD: str(batches), ENTRIES_FIELD: b"".join(batch)}
            client.xadd(SCANS_KEY, fields)  # type: ignore[arg-type]
            batch.clear()
    return batches, copies


def _scans(entries: int) -> Iterator[ScanLogEntry]:
    rng = random.Random(1)
    began_ms = int(time.time() * 1000) - entries * 1000 // _SCANS_A_SECOND
    entry = ScanLogEntry()
    for number in range(1, entries + 1):
        verified_at_ms = began_ms + number * 1000 // _SCANS_A_SECOND
        gate = rng.randrange(_GATES)
        if number % _COPY_EVERY:
            code_hash, index = rng.randbytes(16), rng.randrange(1, _CREDENTIALS)
        else:  # of the entry before, at another gate
            gate = int(entry.gate_id.rpartition("-")[2]) + _GATES
            code_hash, index = entry.code_hash, entry.credential_index
        entry = ScanLogEntry(
            scan_id=rng.randbytes(16).hex(),
            gate_id=f"gate-{gate}",
            verified_at_ms=verified_at_ms,
            credential_index=index,
            kind=1,  # type: ignore[arg-type]
            not_before=verified_at_ms // 1000 - 20,
            expires_at=verified_at_ms // 1000 + 40,
            verdict=1,  # type: ignore[arg-type]
            colour=1,  # type: ignore[arg-type]
            status_age_ms=200,
            code_hash=code_hash,
        )
        yield entry


def _archive(running: Stage, client: "redis.Redis", batches: int) -> tuple[float, Sequence[float]]:
    """Return how long the archive took from its start, and each change of a status meanwhile, in seconds."""
    stopping, during = threading.Event(), list[float]()
    changing = threading.Thread(target=lambda: during.extend(_change_statuses(running, stopping)))
    began = time.monotonic()
    command = [sys.executable, "-m", "issuer", "archive"]
    with ServerProcess("archive", command, folder=running.path, environment=running.environment) as process:
        changing.start()
        while int(client.hget(ARCHIVED_KEY, _JOURNAL) or 0) < batches:
            if not process.is_running() or time.monotonic() - began > _LONGEST_S:
                break
            time.sleep(_POLL_S)
        seconds = time.monotonic() - began
        stopping.set()
        changing.join()
    return seconds, during


def _change_statuses(running: Stage, stopping: threading.Event, *, count: int | None = None) -> list[float]:
    """Turn one holder yellow and green again; return how long each change took, in seconds."""
    taken: list[float] = []
    number = f"{time.monotonic_ns()}"
    holder = pb.NewHolder(name="王小秀", document_type="ID", document_number=number)
    with running.client("local") as clerk:
        holder_id = clerk.admin.EnrolHolders(pb.EnrolHoldersRequest(holders=[holder])).holder_ids[0]
        # Beyond a hundred changed holders an hour a second person would be asked: one holder is changed.
        change = pb.StatusChange(holder_id=holder_id, colour=1, authority="archive")  # type: ignore[arg-type]
        while len(taken) != count and not stopping.wait(_CHANGE_EVERY_S):
            began = time.monotonic()
            clerk.admin.SetStatuses(pb.SetStatusesRequest(changes=[change]))
            taken.append(time.monotonic() - began)
    return taken


def _count(register: str) -> tuple[int, int]:
    with closing(Database.open(register)) as database, database.read() as connection:
        counted = (connection.scalar(select(func.count()).select_from(one)) for one in (scans, suspects))
        stored, suspected = (number or 0 for number in counted)
    return stored, suspected


def _quantiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    half, most = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"{len(ordered)} times, median {half * 1000:.0f} ms, p99 {most * 1000:.0f} ms"
