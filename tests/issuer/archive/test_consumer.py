"""From a real Redis into a real register: nothing is lost, and nothing holds it up."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from issuer.archive import consumer as consumer_module
from issuer.archive import metrics
from issuer.archive.consumer import Consumer
from issuer.archive.stream import LEASE_KEY, ScanStream
from issuer.errors import RegisterUnavailable
from issuer.register.database import Database
from issuer.register.scans import Scans
from issuer.register.showings import Showings
from issuer.register.suspects import Suspects
from loadtest.embedded_redis import EmbeddedRedis
from tests.issuer.archive.passages import JOURNAL, NOW, NOW_MS, archived, passage, put, rows, ship
from verifier.wire.scan_log import ARCHIVE_GROUP, ARCHIVED_KEY, SCANS_KEY


class Archive:
    """An archive that is turned by hand."""

    def __init__(self, database: Database, redis_url: str, *, lease_ms: int = 30_000) -> None:
        self.stream = ScanStream(redis_url, lease_ms=lease_ms, block_ms=1)
        self.scans = Scans(database=database)
        self.suspects = Suspects(database=database)
        self.slept: list[float] = []
        self.consumer = Consumer(
            stream=self.stream,
            scans=self.scans,
            showings=Showings(database=database),
            suspects=self.suspects,
            walk_s=60,
            shares_file=False,
            clock=lambda: NOW,
            sleep=self.slept.append,
        )

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.consumer.turn()

    def scan_ids(self) -> list[str]:
        return sorted(row.scan_id.decode() for row in self.scans.page(page_size=1_000)[0])


_Start = Callable[..., Archive]


@pytest.fixture
def start(sqlite_database: Database, redis_url: str) -> Iterator[_Start]:
    """Starts archives on one register."""
    started: list[Archive] = []

    def start_one(url: str = redis_url, **options: Any) -> Archive:
        started.append(Archive(sqlite_database, url, **options))
        return started[-1]

    yield start_one
    for archive in started:
        with contextlib.suppress(redis.RedisError):
            archive.stream.close()


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def left(client: "redis.Redis") -> tuple[int, int]:
    """Return how many batches are in the stream, and how many are taken and not acknowledged."""
    pending: Any = client.xpending(SCANS_KEY, ARCHIVE_GROUP)
    length: Any = client.xlen(SCANS_KEY)
    return int(length), int(pending["pending"])


def test_batches_are_stored_taken_out_and_noted(start: _Start, client: "redis.Redis") -> None:
    ship(client, 41, passage(scan_id="a"), passage(scan_id="b"))
    ship(client, 42, passage(scan_id="c"))
    ship(client, 7, passage(scan_id="d"), journal="ffff000011112222")
    archive = start()
    archive.turn()
    assert archive.scan_ids() == ["a", "b", "c", "d"]
    assert left(client) == (0, 0)
    assert (archived(client), archived(client, "ffff000011112222")) == (42, 7)


def test_what_is_shipped_twice_is_stored_once_and_no_number_goes_back(
    start: _Start, client: "redis.Redis"
) -> None:
    archive = start()
    entry = passage(scan_id="a")
    for number in (5, 3):
        ship(client, number, entry)
        archive.turn()
    assert archive.scan_ids() == ["a"]
    assert archived(client) == 5


def test_what_waits_in_a_redis_that_is_away_is_not_known(start: _Start, own_redis: EmbeddedRedis) -> None:
    archive = start(own_redis.url)
    archive.turn()
    own_redis.kill()
    with pytest.raises(redis.RedisError):
        archive.turn()
    assert [math.isnan(one._value.get()) for one in (metrics.WAITING, metrics.LAG)] == [True, True]
    own_redis.restart()
    archive.turn()
    assert [one._value.get() for one in (metrics.WAITING, metrics.LAG)] == [0, 0]


def test_more_than_a_transaction_holds_is_stored_in_several(
    start: _Start, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "MAX_ROWS", 2)
    ship(client, 1, *(passage(scan_id=f"{number}") for number in range(5)))
    archive = start()
    archive.turn()
    assert len(archive.scan_ids()) == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"x": "y"},
        {"j": "not hexadecimal!", "n": "1", "e": b""},
        {"j": JOURNAL, "n": "-1", "e": b"LGLG"},
        {"j": JOURNAL, "n": "9" * 40, "e": b"\xff" * 100},
        {"j": JOURNAL, "n": "", "e": b"x" * 300_000},
    ],
)
def test_a_poisoned_batch_is_taken_out_and_holds_up_nothing(
    start: _Start, client: "redis.Redis", fields: dict[str, Any]
) -> None:
    put(client, fields)
    ship(client, 2, passage(scan_id="behind"))
    archive = start()
    archive.turn()
    assert archive.scan_ids() == ["behind"]
    assert left(client) == (0, 0)
    assert client.hgetall(ARCHIVED_KEY) == {JOURNAL.encode(): b"2"}


def test_while_the_register_is_away_nothing_is_acknowledged(
    start: _Start, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(client, 1, passage(scan_id="a"))
    archive = start()

    def refuse(_rows: object) -> int:
        raise RegisterUnavailable("the register is busy")

    with monkeypatch.context() as broken:
        broken.setattr(archive.scans, "store", refuse)
        for _ in range(2):
            with pytest.raises(RegisterUnavailable):
                archive.turn()
    assert (left(client), archived(client)) == ((1, 1), 0)
    ship(client, 2, passage(scan_id="b"))
    archive.turn(2)
    assert archive.scan_ids() == ["a", "b"]
    assert archived(client) == 2


def test_a_second_archive_stands_by_and_takes_over_what_a_dead_one_took(
    start: _Start, client: "redis.Redis"
) -> None:
    first, second = start(lease_ms=60_000), start()
    ship(client, 1, passage(scan_id="a"))
    assert first.stream.hold()
    taken = first.stream.take()
    second.turn()
    assert second.slept == [1.0]
    assert second.scan_ids() == []
    client.delete(LEASE_KEY)  # the lease of the dead one ends
    second.turn()
    assert second.scan_ids() == ["a"]
    assert not first.stream.acknowledge(taken)
    first.turn()
    assert first.slept == [1.0]


def test_an_archive_that_ends_gives_the_lease_back(start: _Start, client: "redis.Redis") -> None:
    first, second = start(), start()
    first.turn()
    first.stream.close()
    ship(client, 1, passage(scan_id="a"))
    second.turn()
    assert (second.slept, second.scan_ids()) == ([], ["a"])


def test_a_batch_that_vanished_from_the_stream_is_let_go(start: _Start, client: "redis.Redis") -> None:
    archive = start()
    entry_id = ship(client, 1, passage())
    assert archive.stream.hold()
    archive.stream.take()
    client.xdel(SCANS_KEY, entry_id)
    archive.stream.begin_again()
    archive.turn()
    assert left(client) == (0, 0)


def test_a_redis_that_lost_its_memory_is_read_from_the_beginning(
    start: _Start, own_redis: EmbeddedRedis
) -> None:
    archive = start(own_redis.url)
    archive.turn()
    own_redis.kill()
    with pytest.raises(redis.ConnectionError):
        archive.turn()
    own_redis.restart()
    with redis.Redis.from_url(own_redis.url) as client:
        ship(client, 1, passage(scan_id="a"))
        archive.turn(2)
        assert (archive.scan_ids(), archived(client)) == (["a"], 1)


def test_a_copy_is_reported_by_the_turn_that_sees_it(start: _Start, client: "redis.Redis") -> None:
    archive = start()
    ship(client, 1, passage(gate_id="north", code_hash=b"c" * 16))
    archive.turn()
    ship(client, 2, passage(gate_id="south", code_hash=b"c" * 16))
    start().turn()  # stands by
    archive.turn()
    found, _ = archive.suspects.page(from_ms=0, credential_index=0, page_size=10, before_seq=0)
    assert [(one.first_gate_id, one.second_gate_id) for one in found] in (
        [(b"north", b"south")],
        [(b"south", b"north")],  # in the same millisecond
    )


def test_on_a_shared_file_others_get_their_share_of_the_time(
    sqlite_database: Database, redis_url: str, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "MAX_ROWS", 1)
    ship(client, 1, passage(), passage(), passage())
    archive = Archive(sqlite_database, redis_url)
    # Began and ended; before the second and the third transaction the clock is looked at once more.
    moments = iter([0.0, 6.0, 7.0, 10.0, 12.0, 20.0, 21.0])
    archive.consumer._shares_file = True
    archive.consumer._monotonic = lambda: next(moments)
    archive.turn()
    assert archive.slept == [3.0]


def test_a_number_is_noted_only_behind_the_one_before(start: _Start, client: "redis.Redis") -> None:
    archive = start()
    ship(client, 3, passage(scan_id="a"), previous=0)
    ship(client, 4, passage(scan_id="b"), previous=3)
    ship(client, 6, passage(scan_id="c"), previous=5)  # the stream lost the fifth
    archive.turn()
    assert (archive.scan_ids(), left(client), archived(client)) == (["a", "b", "c"], (0, 0), 4)
    ship(client, 8, passage(scan_id="d"), previous=0)  # all that is not archived is shipped again from here
    archive.turn()
    assert archived(client) == 8


def test_a_kind_that_is_not_known_here_is_reported_all_the_same(start: _Start, client: "redis.Redis") -> None:
    archive = start()
    copies = [passage(gate_id=gate, kind=9, code_hash=b"k" * 16) for gate in ("north", "south")]
    ship(client, 1, *copies)
    archive.turn()
    assert left(client) == (0, 0)
    (found,), _ = archive.suspects.page(from_ms=0, credential_index=0, page_size=10, before_seq=0)
    assert found.kind == 9


def test_a_scan_dated_far_ahead_is_stored_as_of_now(start: _Start, client: "redis.Redis") -> None:
    archive = start()
    day_ms, before = 86_400_000, metrics.AHEAD._value.get()
    for number, ahead_ms in enumerate([day_ms, day_ms + 1, 3650 * day_ms], start=1):
        ship(client, number, passage(verified_at_ms=NOW_MS + ahead_ms))
    archive.turn()
    found, _ = archive.scans.page(page_size=10)
    assert [row.verified_at_ms - NOW_MS for row in found] == [day_ms, 0, 0]
    assert metrics.AHEAD._value.get() == before + 2


def test_an_archive_whose_own_clock_is_behind_changes_no_date(start: _Start, client: "redis.Redis") -> None:
    archive = start()
    archive.scans.store(rows(passage()))
    archive.consumer._clock = lambda: 0.0
    ship(client, 1, passage(verified_at_ms=NOW_MS + 1_000))
    archive.turn()
    assert [row.verified_at_ms for row in archive.scans.page(page_size=10)[0]] == [NOW_MS + 1_000, NOW_MS]


@pytest.mark.parametrize("before", ["it holds the lease", "nobody holds the lease", "it never ran"])
def test_a_full_redis_is_drained(start: _Start, own_redis: EmbeddedRedis, before: str) -> None:
    archive = start(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as client:
        if before != "it never ran":
            archive.turn()
        for number in range(1, 13):
            ship(
                client,
                number,
                *(passage(scan_id=f"{number}-{one}") for one in range(50)),
                previous=number - 1,
            )
        if before == "nobody holds the lease":
            client.delete(LEASE_KEY)
        client.config_set("maxmemory", 1)  # whatever is taken out, nothing may be set
        archive.turn()
        assert left(client)[0] == 4 if before != "it never ran" else client.xlen(SCANS_KEY) == 4
        assert archived(client) == 0
        assert archive.stream.is_held == (before == "it holds the lease")
        client.config_set("maxmemory", 0)
        archive.turn(2)
        assert left(client) == (0, 0)
        assert len(archive.scan_ids()) == 600
        # What was not noted is shipped again.
        ship(client, 20, previous=0)
        archive.turn()
        assert (archived(client), archive.stream.is_held) == (20, True)


def test_what_is_taken_out_of_a_full_redis_is_noted_if_that_makes_room(
    start: _Start, own_redis: EmbeddedRedis
) -> None:
    archive = start(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as client:
        archive.turn()
        for number in range(1, 9):
            ship(client, number, *(passage(gate_id="x" * 900) for _ in range(200)), previous=number - 1)
        memory: Any = client.info("memory")
        client.config_set("maxmemory", memory["used_memory"] - 100_000)
        archive.turn()
        assert (left(client), archived(client)) == ((0, 0), 8)
