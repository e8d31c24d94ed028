"""Connections find the master, or the node, again after it was replaced, moved or cut off."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
import redis

from loadtest.embedded_redis import EmbeddedRedis, free_port
from loadtest.redis_sets import SERVICE, ClusterSet
from tests.eventually import eventually
from verifier.access.entry_store import EntryStore
from verifier.redis_connection import Elsewhere, RedisServers, connect
from verifier.redis_guides import ClusterMap, MasterGuide, NoMaster
from verifier.redis_url import Address


class SteppedClock:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.looked: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        now = self.now
        self.looked()
        return now


class Heard:
    """Somebody else, in a thread, who wants to know the same while the one before is still asking."""

    def __init__(self, clock: SteppedClock, ask: Callable[[], object]) -> None:
        self._clock, self._ask = clock, ask
        self._came = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._outcome: object = None

    def come(self) -> None:
        """Return when they have come, and so much later that the time is another one."""
        self._clock.looked = self._came.set
        self._thread.start()
        assert self._came.wait(10)
        self._clock.looked = lambda: None
        self._clock.now += 0.25

    def outcome(self) -> object:
        """Return what they got or what was raised, at the end."""
        self._thread.join(10)
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._ask()
        except redis.RedisError as error:
            self._outcome = error


class Sentinel:
    """Says what it is told to."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.master: Address | None = None
        self.other_reply: object = None  # of what is no Sentinel
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def execute_command(self, *_: str) -> object:
        self.asked += 1
        if self.other_reply is not None:
            return self.other_reply
        self.meanwhile()
        if self.master is None:
            raise redis.ConnectionError("gone")
        return [self.master.host.encode(), str(self.master.port).encode()]


class Sentinels:
    """Three of them, and a guide."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.all = [Sentinel(Address("sentinel", number)) for number in range(3)]
        by_address = {one.address: one for one in self.all}
        self.guide = MasterGuide(
            list(by_address),
            "city",
            lambda address: by_address[address],  # type: ignore[arg-type, return-value]
            self.clock,
        )

    def name(self, master: Address | None) -> None:
        for one in self.all:
            one.master = master


def test_a_master_is_asked_for_again_from_time_to_time_and_left_when_it_was_replaced() -> None:
    sentinels = Sentinels()
    old, new = Address("redis", 1), Address("redis", 2)
    sentinels.name(old)
    assert sentinels.guide.address() == old
    sentinels.name(new)
    assert sentinels.guide.is_current(old)
    sentinels.clock.now += 2
    assert not sentinels.guide.is_current(old)
    assert sentinels.guide.address() == new


def test_a_master_is_kept_while_the_sentinels_are_away_and_they_are_left_alone() -> None:
    sentinels = Sentinels()
    master = Address("redis", 1)
    sentinels.name(master)
    sentinels.guide.address()
    sentinels.name(None)
    sentinels.clock.now += 2
    assert sentinels.guide.is_current(master)
    asked = sum(one.asked for one in sentinels.all)
    sentinels.clock.now += 2
    assert sentinels.guide.is_current(master)
    assert sum(one.asked for one in sentinels.all) == asked


def test_one_sentinel_that_answers_is_enough_and_none_is_no_master() -> None:
    sentinels = Sentinels()
    with pytest.raises(NoMaster, match="city"):
        sentinels.guide.address()
    sentinels.all[1].master = Address("redis", 1)
    assert sentinels.guide.address() == Address("redis", 1)
    asked = sentinels.all[0].asked
    sentinels.clock.now += 2
    assert sentinels.guide.is_current(Address("redis", 1))
    assert sentinels.all[0].asked == asked  # the one that answered last is asked first


def test_who_waited_while_nobody_named_a_master_does_not_ask_again() -> None:
    sentinels = Sentinels()
    heard = Heard(sentinels.clock, sentinels.guide.address)
    sentinels.all[0].meanwhile = heard.come
    with pytest.raises(NoMaster):
        sentinels.guide.address()
    assert isinstance(heard.outcome(), NoMaster)
    assert [one.asked for one in sentinels.all] == [1, 1, 1]

    sentinels.all[0].meanwhile = lambda: None
    sentinels.name(Address("redis", 1))
    assert sentinels.guide.address() == Address("redis", 1)


@pytest.mark.parametrize("reply", [[b"redis", b"many"], [b"redis"], [b"redis", 1], 7, b"OK", []])
def test_what_answers_and_is_no_sentinel_is_passed_over(reply: object) -> None:
    sentinels = Sentinels()
    sentinels.all[0].other_reply = reply
    sentinels.all[1].master = master = Address("redis", 1)
    assert sentinels.guide.address() == master
    sentinels.all[1].other_reply = sentinels.all[2].other_reply = reply
    sentinels.clock.now += 2
    assert sentinels.guide.is_current(master)  # it never raises
    sentinels.guide.lost(master)
    with pytest.raises(NoMaster):
        sentinels.guide.address()


def test_a_sentinel_that_named_what_nobody_can_use_is_asked_after_the_others() -> None:
    sentinels = Sentinels()
    old, new = Address("redis", 1), Address("redis", 2)
    sentinels.name(new)
    sentinels.all[0].master = old
    assert sentinels.guide.address() == old
    sentinels.guide.lost(old)
    assert sentinels.guide.address() == new
    sentinels.clock.now += 2
    assert sentinels.guide.is_current(new)


def test_a_master_that_became_a_replica_is_left_when_it_refuses_a_write(
    own_redis: EmbeddedRedis, shared_sentinel_url: str
) -> None:
    """The Sentinel has the last word: here it goes on naming the master."""
    with connect(shared_sentinel_url, reply_timeout_s=1, client_name="test") as client:
        client.set("test", 1)
        with _served_by(client) as master:
            master.replicaof("127.0.0.1", own_redis.port)
            with pytest.raises(Elsewhere, match="ReadOnlyError"):
                client.set("test", 2)
            master.replicaof("NO", "ONE")
        client.set("test", 3)


def test_a_replica_that_a_sentinel_names_is_not_read_from(
    own_redis: EmbeddedRedis, shared_sentinel_url: str
) -> None:
    with connect(shared_sentinel_url, reply_timeout_s=1, client_name="test") as client:
        client.set("test", 1)
        with _served_by(client) as master:
            master.replicaof("127.0.0.1", own_redis.port)
            client.connection_pool.disconnect()
            try:
                with pytest.raises(Elsewhere, match="is a replica"):
                    client.get("test")
            finally:
                master.replicaof("NO", "ONE")
        client.set("test", 2)
        assert client.get("test") == b"2"


def test_a_server_that_may_not_say_what_it_is_is_taken_for_the_master(shared_sentinel_url: str) -> None:
    with (
        connect(shared_sentinel_url, reply_timeout_s=1, client_name="test") as client,
        _served_by(client) as master,
    ):
        master.execute_command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "-hello")
        url = shared_sentinel_url.replace("://", "://mute:secret@")
        with connect(url, reply_timeout_s=1, client_name="test") as mute:
            assert mute.ping()
        master.execute_command("ACL", "DELUSER", "mute")


def test_an_unknown_service_and_a_port_where_nobody_is_are_errors_of_redis(shared_sentinel_url: str) -> None:
    wrong_service = shared_sentinel_url.replace(SERVICE, "nobody")
    for url in (wrong_service, f"redis+cluster://127.0.0.1:{free_port()}"):
        with (
            connect(url, reply_timeout_s=1, client_name="test", key="x") as client,
            pytest.raises(redis.ConnectionError),
        ):
            client.get("x")


class Nodes:
    """Nodes of a Cluster, a map of them, and what each of them says: no word, or ranges of slots."""

    def __init__(self, *names: str) -> None:
        self.says: dict[str, list[Any] | None] = dict.fromkeys(names)
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.clock = SteppedClock()
        self.map = ClusterMap([Address(name, 1) for name in names], self._ask, self.clock)

    def _ask(self, address: Address) -> redis.Redis:
        nodes = self

        class Node:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def execute_command(self, *_: str) -> list[Any]:
                nodes.asked.append(address.host)
                nodes.meanwhile()
                said = nodes.says.get(address.host)
                if said is None:
                    raise redis.TimeoutError("silent")
                return said

        return Node()  # type: ignore[return-value]


def _range(first: int, last: int, *hosts: str) -> list[Any]:
    return [first, last, *([host.encode(), 1, b"id"] for host in hosts)]


def test_a_node_that_knows_of_no_other_is_not_believed_and_asked_last() -> None:
    nodes = Nodes("blank", "one", "two")
    nodes.says |= {"blank": [], "one": [_range(0, 16_383, "one", "two")], "two": None}
    assert nodes.map.holder(5) == Address("one", 1)
    assert nodes.asked == ["blank", "one"]
    nodes.map.lost()
    assert nodes.map.holder(5) == Address("one", 1)
    assert nodes.asked[2:] == ["two", "blank", "one"]


def test_of_maps_with_holes_the_one_with_most_slots_is_taken() -> None:
    nodes = Nodes("one", "two", "three")
    for name, last in (("one", 9), ("two", 99), ("three", 49)):
        nodes.says[name] = [_range(0, last, name)]
    assert nodes.map.holder(9) == Address("two", 1)
    with pytest.raises(NoMaster, match="slot 100"):
        nodes.map.holder(100)


def test_a_map_without_any_slot_is_no_map() -> None:
    nodes = Nodes("one")
    nodes.says["one"] = [_range(0, 16_383, "one")]
    nodes.map.refresh()
    nodes.says["one"] = []
    nodes.map.lost()
    with pytest.raises(NoMaster):
        nodes.map.refresh()
    assert nodes.map.known(5) == Address("one", 1)


def test_who_waited_while_no_node_answered_does_not_ask_again() -> None:
    nodes = Nodes("one")
    heard = Heard(nodes.clock, nodes.map.refresh)
    nodes.meanwhile = heard.come
    with pytest.raises(NoMaster):
        nodes.map.refresh()
    assert isinstance(heard.outcome(), NoMaster)
    assert nodes.asked == ["one"]

    nodes.meanwhile = lambda: None
    nodes.says["one"] = [_range(0, 16_383, "one")]
    assert nodes.map.holder(5) == Address("one", 1)


def test_a_node_whose_map_led_nowhere_is_asked_after_the_others() -> None:
    nodes = Nodes("behind", "one")
    nodes.says |= {"behind": [_range(0, 16_383, "gone")], "one": [_range(0, 16_383, "one")]}
    assert nodes.map.holder(5) == Address("gone", 1)
    nodes.map.lost()
    assert nodes.map.holder(5) == Address("one", 1)


def test_a_node_that_was_silent_is_asked_after_all_others_from_then_on() -> None:
    nodes = Nodes("silent", "one", "two")
    nodes.says["one"] = nodes.says["two"] = [_range(0, 16_383, "one", "two", "silent")]
    for _ in range(5):
        nodes.map.lost()
        nodes.map.refresh()
    assert nodes.asked == ["silent", "one", "two", "one", "two", "one"]


def test_whoever_is_told_where_a_slot_is_does_not_wait_for_a_look_at_the_map() -> None:
    nodes = Nodes("one")
    told = threading.Thread(target=nodes.map.moved, args=(5, Address("two", 1)), daemon=True)

    def tell() -> None:
        told.start()
        told.join(10)

    nodes.meanwhile = tell
    with pytest.raises(NoMaster):
        nodes.map.refresh()
    assert not told.is_alive()
    assert nodes.map.known(5) == Address("two", 1)


def test_a_cluster_of_many_masters_keeps_a_client_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes("n0")
    nodes.says["n0"] = [_range(at * 256, at * 256 + 255, f"n{at}") for at in range(64)]
    servers = RedisServers("redis+cluster://n0:1", reply_timeout_s=1, client_name="test")
    monkeypatch.setattr(servers, "_cluster", nodes.map)
    clients = list(servers.all())
    assert list(servers.all()) == clients
    nodes.says |= {f"n{at}": [_range(0, 16_383, "new")] for at in range(64)}
    nodes.map.lost()
    servers.all()
    assert list(servers._nodes) == [Address("new", 1)]


def test_each_key_is_asked_for_where_it_is(shared_cluster_url: str) -> None:
    servers = RedisServers(shared_cluster_url, reply_timeout_s=1, client_name="test")
    names = [f"test:{number}" for number in range(20)]
    for name in names:
        servers.of(name).set(name, name)
    assert len({servers.of(name) for name in names}) == 3
    assert all(servers.of(name).get(name) == name.encode() for name in names)
    assert set(map(servers.of, names)) == set(servers.all())
    servers.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSet]:
    with ClusterSet(tmp_path_factory.mktemp("own-cluster")) as servers:
        yield servers


def test_a_slot_that_moves_is_refused_in_halves_and_followed_when_it_has_arrived(cluster: ClusterSet) -> None:
    to = next(one for one in cluster.masters if one is not cluster.holder("{tag}"))
    servers = RedisServers(cluster.url, reply_timeout_s=1, client_name="test")
    with connect(cluster.url, reply_timeout_s=1, client_name="test", key="{tag}") as client:
        with client.pipeline() as transaction:
            transaction.set("{tag}:1", 1).set("{tag}:2", 2).execute()
        servers.of("{tag}").get("{tag}:1")
        steps = cluster.move_in_steps("{tag}", to)
        next(steps)
        with client.pipeline() as transaction, pytest.raises(Elsewhere):
            transaction.get("{tag}:1").get("{tag}:2").execute()
        assert list(steps) == [None]
        with client.pipeline() as transaction:
            assert transaction.get("{tag}:1").get("{tag}:2").execute() == [b"1", b"2"]
    with pytest.raises(Elsewhere, match="MovedError"):
        servers.of("{tag}").get("{tag}:1")
    assert servers.of("{tag}").get("{tag}:1") == b"1"
    servers.close()


def test_claims_go_on_at_the_nodes_that_are_left(cluster: ClusterSet) -> None:
    store = EntryStore(cluster.url, budget_s=5.0)
    names = [f"{number}:aa" for number in range(12)]
    assert [store.claim(name, b"first", 60_000) for name in names] == [True] * 12
    gone = cluster.masters[0]
    lost = [name for name in names if cluster.holder(f"gatelight:used:{name}") is gone]
    gone.process.kill()
    try:
        answers = {name: store.claim(name, b"second", 60_000) for name in names}
        assert {name for name, answer in answers.items() if answer is None} == set(lost)
        assert {answers[name] for name in names if name not in lost} == {False}
        store.claim_later(lost[0], b"second", 60_000)
        gone.start()
        cluster.wait_until_whole()
        eventually(lambda: _value(cluster, f"gatelight:used:{lost[0]}") == b"second")
        eventually(lambda: store.claim(lost[0], b"third", 60_000) is False)
    finally:
        store.close()


def _served_by(client: redis.Redis) -> redis.Redis:
    """Return a client of the server that another one leads to."""
    found: Any = client.config_get("port")
    return redis.Redis(port=int(found["port"]))


def _value(cluster: ClusterSet, key: str) -> bytes | None:
    with (
        contextlib.suppress(redis.RedisError),
        connect(cluster.url, reply_timeout_s=1, client_name="test", key=key) as client,
    ):
        found: Any = client.get(key)
        return bytes(found or b"")
    return None
