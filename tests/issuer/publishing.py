"""A register, a publisher that is turned by hand or runs, and what Redis holds.

What is in the register is entered here row by row, so that these tests hold whatever the rules are by
which clerks change it.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager, suppress

import redis
from sqlalchemy import delete, func, insert, select, update

from issuer.cache_steps import CacheSteps, Progress
from issuer.errors import IssuerError
from issuer.publisher import Publisher
from issuer.register.database import Database
from issuer.register.entries import CredentialStanding
from issuer.register.keys import Keys
from issuer.register.outbox import Outbox, enqueue
from issuer.register.schema import credentials, holder_status, holders, key_sets
from issuer.status_writer import StatusWriter
from tests.eventually import eventually
from tests.issuer.stored_status import StoredStatus
from tests.redis_forms import client_of
from tests.signer import Signer
from verifier.boot_clock import boot_time_s
from verifier.loop import Loop
from verifier.mirror import HeapTable, PartitionMirror
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import StatusReader
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack, unpack

NOW = 1_800_000_000
ROOT = Signer("publishing tests")


class FakeMonotonic:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Publishing:
    """A register on its way to Redis."""

    def __init__(self, database: Database, redis_url: str, partitions: int = 1) -> None:
        self.database = database
        self.outbox = Outbox(database)
        self.keys = Keys(database)
        self.redis_url = redis_url
        self.redis = client_of(redis_url)
        self.status = StoredStatus(self.redis, partitions)
        self.clock = FakeMonotonic()
        self._numbers = itertools.count(1)
        self._writers: list[StatusWriter] = []
        self.sign_key_set()
        self.publisher = self.new_publisher(partitions)

    def new_publisher(self, partitions: int = 1) -> Publisher:
        """Return a publisher that knows only what the register knows, as after a restart."""
        writer = StatusWriter(self.redis_url, root_key_id=ROOT.root_key_id, partitions=partitions)
        self._writers.append(writer)
        return Publisher(outbox=self.outbox, keys=self.keys, writer=writer, monotonic=self.clock)

    @contextmanager
    def running(self) -> Iterator[Publisher]:
        """Give a publisher whose thread runs, on the real clock."""
        writer = StatusWriter(self.redis_url, root_key_id=ROOT.root_key_id, partitions=1)
        publisher = Publisher(outbox=self.outbox, keys=self.keys, writer=writer)
        publisher.start()
        try:
            yield publisher
        finally:
            publisher.stop()

    def sign_key_set(self) -> bytes:
        """Enter the next key set into the register and return it."""
        with self.database.write() as connection:
            version = (connection.scalar(select(func.max(key_sets.c.version))) or 0) + 1
            signed = ROOT.key_set(issued_at=NOW, version=version)
            connection.execute(
                insert(key_sets).values(version=version, signed=signed, issued_at=NOW, expires_at=NOW + 60)
            )
        return signed

    def issue(self, count: int = 1) -> list[int]:
        """Enrol holders and issue a credential to each; ids and indices are the same numbers."""
        numbers = [next(self._numbers) for _ in range(count)]
        self._enter([(number, number) for number in numbers])
        return numbers

    def issue_at(self, index: int) -> int:
        """Issue a credential with an index far away; return the holder's id."""
        holder_id = next(self._numbers)
        self._enter([(holder_id, index)])
        return holder_id

    def _enter(self, pairs: list[tuple[int, int]]) -> None:
        with self.database.write() as connection:
            connection.execute(insert(holders), [_holder_row(holder_id) for holder_id, _ in pairs])
            connection.execute(insert(credentials), [_credential_row(*pair) for pair in pairs])
            enqueue(connection, credentials.c.holder_id.in_([holder_id for holder_id, _ in pairs]))

    def set_colour(self, holder_id: int, colour: Colour) -> int:
        """Set a holder's colour; return the seq in the outbox."""
        with self.database.write() as connection:
            connection.execute(delete(holder_status).where(holder_status.c.holder_id == holder_id))
            connection.execute(
                insert(holder_status).values(
                    holder_id=holder_id, colour=colour, reason=7, last_negative_test_min=NOW // 60
                )
            )
            return enqueue(connection, credentials.c.holder_id == holder_id)

    def set_state(self, index: int, state: CredentialStanding, generation: int) -> None:
        """Change a credential."""
        is_this_one = credentials.c.credential_index == index
        with self.database.write() as connection:
            connection.execute(
                update(credentials).where(is_this_one).values(state=state, generation=generation)
            )
            enqueue(connection, is_this_one)

    def carry_out(self, steps: CacheSteps) -> Progress:
        """Rebuild, check or repair, turning the publisher; return the last progress, or raise."""
        with futures.ThreadPoolExecutor(1) as pool:
            caller = pool.submit(lambda: deque(self.publisher.carry_out(steps), maxlen=1))
            while not caller.done():
                if self.publisher._job is not None:
                    with suppress(redis.RedisError, IssuerError):
                        self.publisher.turn()
            return caller.result().pop()

    def publish_all(self) -> None:
        """Turn the publisher until nothing waits."""
        while self.publisher.turn():
            pass

    def waiting(self) -> int:
        """Return how many rows wait in the outbox."""
        return self.outbox.next_batch(100_000).row_count

    def truth(self) -> dict[int, int]:
        """Return what Redis should hold, packed by the wire format's own function."""
        query = select(
            credentials.c.credential_index,
            credentials.c.state,
            credentials.c.generation,
            holder_status.c.colour,
            holder_status.c.reason,
            holder_status.c.last_negative_test_min,
        ).select_from(
            credentials.outerjoin(holder_status, credentials.c.holder_id == holder_status.c.holder_id)
        )
        with self.database.read() as connection:
            return {index: packed(*rest) for index, *rest in connection.execute(query)}

    def colour_in_redis(self, index: int) -> Colour | None:
        """Return a credential's colour in Redis; None where Redis or the record is missing."""
        try:
            return unpack(self.status.records()[index]).colour
        except (redis.ConnectionError, KeyError):
            return None

    def close(self) -> None:
        self.redis.close()
        for writer in self._writers:
            writer.close()


class Follower:
    """A verifier's mirror, kept current by the verifier's own code in a thread."""

    def __init__(self, redis_url: str) -> None:
        self._reader = StatusReader(
            redis_url, root_key_id=ROOT.root_key_id, partition=0, partitions=1, block_ms=100
        )
        self.mirror = PartitionMirror()
        follower = MirrorFollower(
            reader=self._reader,
            mirror=self.mirror,
            monotonic=boot_time_s,
            new_table=lambda: HeapTable(1 << 20),
        )
        self._loop = Loop(follower.step, name="mirror", pause_s=0, retry_s=0.05)
        self._loop.start()
        eventually(lambda: self.mirror.table is not None)

    def record(self, index: int) -> int:
        assert self.mirror.table is not None
        return self.mirror.table.record(index)

    def status_age_s(self) -> float:
        return boot_time_s() - self.mirror.current_at_s

    def close(self) -> None:
        self._loop.stop()
        self._reader.close()


def packed(
    state: int, generation: int, colour: int | None, reason: int | None, last_negative_test_min: int | None
) -> int:
    """Return the record that verifiers are to see of what the register says."""
    return pack(
        StatusRecord(
            Colour(colour or 0),
            CredentialState.REVOKED if state == CredentialStanding.EXPIRED else CredentialState(state),
            generation % 256,
            reason or 0,
            last_negative_test_min or 0,
        )
    )


def _holder_row(holder_id: int) -> dict[str, object]:
    return {
        "id": holder_id,
        "name": "王小秀",
        "document_type": "ID",
        "document_last_four": "1234",
        "region": "",
        "enrolled_at": NOW,
    }


def _credential_row(holder_id: int, index: int) -> dict[str, object]:
    return {
        "credential_index": index,
        "holder_id": holder_id,
        "kind": 1,
        "generation": 1,
        "state": CredentialStanding.ACTIVE,
        "issued_at": NOW,
    }
