"""`python -m loadtest rebuild`: a generated city from the register into Redis, every byte of it.

First into an empty Redis, without an epoch until it is whole; then beside a verifier's mirror that runs,
which must go on hearing that its status is current. Every record is compared afterwards.
"""

import random
import resource
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import redis
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import Connection, insert, select, text

from issuer.cache_steps import check, rebuild
from issuer.publisher import Publisher
from issuer.register.database import Database
from issuer.register.keys import Keys
from issuer.register.outbox import Outbox
from issuer.register.schema import credentials, holder_status, key_sets
from issuer.status_writer import StatusWriter
from loadtest.embedded_redis import EmbeddedRedis
from verifier.boot_clock import boot_time_s
from verifier.mirror import PartitionMirror
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import StatusReader
from verifier.wire.status_record import RECORD_BYTES, Colour, CredentialState, StatusRecord, pack
from verifier.wire.status_store import RECORDS_PER_SHARD, offset_of, shard_of, status_key

_ROOT_KEY_ID = b"rebuild!"
_KEY_SET = b"not read by anybody here"
# A transaction of a second or two.
_ROWS_PER_TRANSACTION = 500_000
_SAMPLES = 1_000
_TESTED_MIN = 30_000_000  # Unix minutes
_SAMPLE_AGE_S = 0.05
# A heartbeat a second, a shard's time, and some for a busy machine.
_MAX_AGE_S = 3.0

_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(CAST(:first AS bigint), CAST(:last AS bigint))) ",
}
_ROWS = (
    ("holders (id, name, document_type, document_last_four, region, enrolled_at)", "i, '', '', '', '', 0"),
    (
        "credentials (credential_index, holder_id, kind, generation, state, issued_at)",
        "i, i, 1, 1 + i % 250, 1 + (i / 7) % 4, 0",
    ),
    (
        "holder_status (holder_id, colour, reason, last_negative_test_min)",
        f"i, 1 + i % 3, i % 60000, {_TESTED_MIN} + i % 10000",
    ),
)


def run(records: int) -> int:
    """Rebuild that many records; return the exit code: 1 if one was wrong, or a mirror fell behind."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="gatelight-rebuild-") as name:
        folder = Path(name)
        with closing(Database.create(folder / "register.db")) as database, EmbeddedRedis(folder) as server:
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("Generating the register", total=records)
                _generate(database, records, lambda count: progress.advance(task, count))
            return _measure(console, database, server, records)


def _measure(console: Console, database: Database, server: EmbeddedRedis, records: int) -> int:
    writer = StatusWriter(server.url, root_key_id=_ROOT_KEY_ID, partitions=1)
    publisher = Publisher(outbox=Outbox(database), keys=Keys(database), writer=writer)
    with closing(writer):
        before = _peak_mib()
        took_s = _seconds(publisher.turn)
    _show(console, "into an empty Redis", records, took_s, before)

    writer = StatusWriter(server.url, root_key_id=_ROOT_KEY_ID, partitions=1)
    publisher = Publisher(outbox=Outbox(database), keys=Keys(database), writer=writer)
    publisher.start()
    try:
        with _following(server.url) as ages:
            before = _peak_mib()
            took_s = _seconds(lambda: deque(publisher.carry_out(rebuild), maxlen=0))
            oldest_s = max(ages)
        _show(console, "beside a running verifier", records, took_s, before)
        console.print(f"  oldest status of the verifier meanwhile: {oldest_s:.1f} s")
        begun = time.monotonic()
        *_, found = publisher.carry_out(check)
        console.print(f"  compared every byte in {time.monotonic() - begun:.1f} s")
    finally:
        publisher.stop()
    wrong = found.differing_records + len(found.problems) + (found.records != records)
    wrong += _count_wrong_samples(database, server.url, records)
    console.print(
        f"  {found.records:,} records compared, {_SAMPLES:,} packed again one by one: {wrong} wrong"
    )
    return 1 if wrong or oldest_s > _MAX_AGE_S else 0


def _generate(database: Database, records: int, advance: Callable[[int], object]) -> None:
    with database.write() as connection:
        connection.execute(insert(key_sets).values(version=1, signed=_KEY_SET, issued_at=0, expires_at=0))
    for first in range(1, records + 1, _ROWS_PER_TRANSACTION):
        last = min(records, first + _ROWS_PER_TRANSACTION - 1)
        with database.write() as connection:
            for table, values in _ROWS:
                statement = _insert(connection, table, values)
                connection.execute(text(statement), {"first": first, "last": last})
        advance(last - first + 1)


def _insert(connection: Connection, table: str, values: str) -> str:
    numbers = _NUMBERS[connection.dialect.name]
    chosen = f"SELECT {values} FROM n"  # noqa: S608 - our own text
    if connection.dialect.name == "sqlite":
        return f"{numbers} INSERT INTO {table} {chosen}"
    return f"INSERT INTO {table} {numbers} {chosen}"


@contextmanager
def _following(redis_url: str) -> Iterator[list[float]]:
    """Follow with a verifier's mirror; give the ages of its status, sampled."""
    reader = StatusReader(redis_url, root_key_id=_ROOT_KEY_ID, partition=0, partitions=1, block_ms=200)
    mirror = PartitionMirror()
    follower = MirrorFollower(reader=reader, mirror=mirror, monotonic=boot_time_s)
    follower.step()
    ages = [boot_time_s() - mirror.current_at_s]
    stopping = threading.Event()

    def follow() -> None:
        while not stopping.is_set():
            follower.step()

    def sample() -> None:
        while not stopping.wait(_SAMPLE_AGE_S):
            ages.append(boot_time_s() - mirror.current_at_s)

    threads = [threading.Thread(target=target, daemon=True) for target in (follow, sample)]
    for thread in threads:
        thread.start()
    try:
        yield ages
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        reader.close()


def _count_wrong_samples(database: Database, redis_url: str, records: int) -> int:
    """Pack records one by one, in Python, and compare them with what Redis holds."""
    rng = random.Random(records)
    chosen = [1, records, *(rng.randint(1, records) for _ in range(_SAMPLES - 2))]
    wrong = 0
    with database.read() as connection, redis.Redis.from_url(redis_url) as client:
        for index in chosen:
            begin = offset_of(index)
            held = client.getrange(status_key(shard_of(index), 1), begin, begin + RECORD_BYTES - 1)
            wrong += held != _pack_one(connection, index).to_bytes(RECORD_BYTES, "little")
    return wrong


def _pack_one(connection: Connection, index: int) -> int:
    entry = connection.execute(
        select(credentials, holder_status)
        .join_from(credentials, holder_status, credentials.c.holder_id == holder_status.c.holder_id)
        .where(credentials.c.credential_index == index)
    ).one()
    return pack(
        StatusRecord(
            Colour(entry.colour),
            CredentialState(min(entry.state, CredentialState.REVOKED)),
            entry.generation % 256,
            entry.reason,
            entry.last_negative_test_min,
        )
    )


def _seconds(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def _show(console: Console, what: str, records: int, took_s: float, before_mib: float) -> None:
    shards = -(-records // RECORDS_PER_SHARD)
    console.print(f"{records:,} records, {shards:,} shards, {what}: {took_s:.1f} s")
    console.print(
        f"  {records / took_s:,.0f} records/s, {1e6 * took_s / records:.2f} us each; "
        f"peak memory {_peak_mib():.0f} MiB, {before_mib:.0f} MiB before"
    )


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
