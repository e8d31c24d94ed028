"""What can go wrong with one Redis, and with what lies there, on a real server.

While Redis is empty or holds nonsense, nobody mends it: the issuer notices within a second by itself, and a
fault that is over by then shows nothing. It mends it when the fault is healed.
"""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from loadtest.embedded_redis import free_port
from loadtest.outages.fault import Fault
from loadtest.outages.host_scene import host_scene
from loadtest.outages.scene import Scene
from loadtest.outages.signs import PREFIX, above, all_of, any_of, in_trouble
from loadtest.processes import READY_TIMEOUT_S, ProcessError
from verifier.wire.status_store import (
    EPOCH_FIELD,
    GATE_LIST_KEY,
    KEY_SET_KEY,
    UPDATES_FIELD,
    epoch_key,
    feed_key,
    status_key,
)

_SLOW_S = 0.2
_REPLY_TIMEOUT_S = 5.0
_LOOK_S = 0.01
# Keys that take 5 ms each to load, so that Redis loads for 20 s unless it is told to make haste. It looks at
# its connections every so many bytes, and 20 such keys.
_LOADED_KEYS, _LOADED_BYTES, _LOAD_DELAY_US, _LOOKS_EVERY_BYTES = 4_000, 48, 5_000, 1_024
# Where nobody looks for status.
_LOADED_DATABASE = 1
_STRANGE_ENTRIES_S = 0.4
# Older than any heartbeat, which comes every second.
_SILENCE_S = 2.5

_FEED, _EPOCH = feed_key(0), epoch_key(0)


def _on_redis(act: Callable[[Scene, redis.Redis], object]) -> Callable[[Scene], object]:
    """Give an act a client of the Redis itself; what Redis refuses is a ProcessError."""

    @functools.wraps(act)
    def done(scene: Scene) -> object:
        with _client(scene) as client:
            return act(scene, client)

    return done


@contextmanager
def _client(scene: Scene, database: int = 0) -> Iterator[redis.Redis]:
    try:
        with _connect(scene, database) as client:
            yield client
    except redis.RedisError as error:
        raise ProcessError(f"Redis does not do as it is told: {error}") from None


def _connect(scene: Scene, database: int = 0) -> redis.Redis:
    retry = Retry(NoBackoff(), 0)  # redis-py would hide for seconds that Redis is loading
    return redis.Redis(port=scene.redis.port, db=database, retry=retry, socket_timeout=_REPLY_TIMEOUT_S)


def _kill(scene: Scene) -> None:
    scene.redis.kill()


def _start_again(scene: Scene) -> None:
    scene.office.start_redis()


def _freeze(scene: Scene) -> None:
    scene.redis.freeze()


def _thaw(scene: Scene) -> None:
    scene.redis.thaw()


def _nobody_mends(scene: Scene) -> None:
    scene.city.fall_silent()


def _mend(scene: Scene) -> None:
    scene.city.speak_again()


def _nothing(_: Scene) -> None:
    """Do nothing: it was over when it had begun."""


def _restart(scene: Scene) -> None:
    _nobody_mends(scene)
    scene.redis.restart()


@_on_redis
def _flush(scene: Scene, client: redis.Redis) -> None:
    _nobody_mends(scene)
    client.flushall()


@_on_redis
def _follow_a_dead_master(_: Scene, client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", free_port())


@_on_redis
def _be_master_again(_: Scene, client: redis.Redis) -> None:
    client.replicaof("NO", "ONE")


@_on_redis
def _fill_up(_: Scene, client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")


@_on_redis
def _make_room(_: Scene, client: redis.Redis) -> None:
    client.config_set("maxmemory", "0")


@_on_redis
def _change_types(scene: Scene, client: redis.Redis) -> None:
    _nobody_mends(scene)
    with client.pipeline() as together:
        together.delete(_FEED, _EPOCH, KEY_SET_KEY, GATE_LIST_KEY, status_key(0, 1))
        together.set(_FEED, "a feed")
        together.hset(_EPOCH, "an", "epoch")
        together.sadd(KEY_SET_KEY, "a key set")
        together.hset(GATE_LIST_KEY, "a", "list")
        together.rpush(status_key(0, 1), "a", "shard")
        together.execute()


@_on_redis
def _cut_values(scene: Scene, client: redis.Redis) -> None:
    """Cut what is there in the middle, and feed half an update, upon which the status is loaded anew."""
    _nobody_mends(scene)
    epoch = client.get(_EPOCH)
    shards = list(client.scan_iter(status_key(0, 1).removesuffix("0") + "*"))
    with client.pipeline() as together:
        for key in (*shards, KEY_SET_KEY, GATE_LIST_KEY):
            content = client.get(key)
            together.set(key, content[: len(content) // 2])  # type: ignore[arg-type,index]
        together.xadd(_FEED, {EPOCH_FIELD: epoch, UPDATES_FIELD: b"\x01\x00\x00\x00\x01"})  # type: ignore[dict-item]
        together.execute()


class _Loading:
    """A Redis that was restarted, and takes its time to load what it had saved."""

    @staticmethod
    def strike(scene: Scene) -> None:
        """Save, and start again; returns when it says that it loads."""
        with _client(scene, _LOADED_DATABASE) as client:
            with client.pipeline(transaction=False) as pipeline:
                for number in range(_LOADED_KEYS):
                    pipeline.set(f"loaded:{number}", os.urandom(_LOADED_BYTES))
                pipeline.execute()
            client.save()
        options = {
            "key-load-delay": _LOAD_DELAY_US,
            "loading-process-events-interval-bytes": _LOOKS_EVERY_BYTES,
        }
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        scene.redis.restart(*given, is_ready=False)
        _wait_until(scene, is_loading=True)

    @staticmethod
    def heal(scene: Scene) -> None:
        """Make haste, and leave nothing behind."""
        with _client(scene) as client:
            client.config_set("key-load-delay", 0)
        _wait_until(scene, is_loading=False)
        with _client(scene, _LOADED_DATABASE) as client:
            client.flushdb()
        (scene.folder / "dump.rdb").unlink(missing_ok=True)


def _wait_until(scene: Scene, *, is_loading: bool) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        with _connect(scene) as client:
            try:
                client.ping()
                loads: bool | None = False
            except redis.BusyLoadingError:
                loads = True
            except redis.ConnectionError:
                loads = None
        if loads is is_loading:
            return
        time.sleep(_LOOK_S)
    raise ProcessError(f"Redis does not {'load' if is_loading else 'end loading'}")


class _ForeignWriter:
    """Somebody who writes into our feed what is none of ours, again and again, beside our own issuer."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: None)

    def strike(self, scene: Scene) -> None:
        """Begin."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(scene,), daemon=True)
        self._thread.start()

    def heal(self, scene: Scene) -> None:
        """End; our issuer writes everything anew where the feed is not its own."""
        self._ending.set()
        self._thread.join()
        scene.city.beat()

    def _write(self, scene: Scene) -> None:
        with _connect(scene) as client:
            while not self._ending.is_set():
                with contextlib.suppress(redis.RedisError):
                    for fields in self._entries(client.get(_EPOCH)):
                        client.xadd(_FEED, fields)
                self._ending.wait(_STRANGE_ENTRIES_S)

    @staticmethod
    def _entries(epoch: bytes | None) -> Sequence[dict[bytes, bytes]]:
        theirs = b"0123456789abcdef-00"
        everybody_red = b"".join(index.to_bytes(4, "little") + b"\x07" + bytes(7) for index in range(1_000))
        return [
            {EPOCH_FIELD: theirs},  # a heartbeat of their own
            {EPOCH_FIELD: theirs, UPDATES_FIELD: everybody_red},
            {b"": b""},  # Redis knows no entry without a field
            {UPDATES_FIELD: everybody_red},
            {EPOCH_FIELD: epoch or theirs, UPDATES_FIELD: b"no updates"},
        ]


@_on_redis
def _trim_past_us(scene: Scene, client: redis.Redis) -> None:
    """Have the feed go on without the verifiers, which stand still for a moment."""
    for verifier in scene.verifiers:
        verifier.process.freeze()
    try:
        for _ in range(3):
            scene.city.beat()
        client.xtrim(_FEED, maxlen=1, approximate=False)
    finally:
        for verifier in scene.verifiers:
            verifier.process.thaw()


def _be_slow(delay_s: float) -> Callable[[Scene], None]:
    """Return what gives the network in front of Redis a delay."""

    def be_slow(scene: Scene) -> None:
        if scene.proxy is None:
            raise TypeError("there is no proxy in this scene")
        scene.proxy.delay_s = delay_s

    return be_slow


_foreign_writer = _ForeignWriter()

FAULTS: Sequence[Fault] = (
    Fault(
        "redis-killed",
        "Redis is killed with SIGKILL; later it starts empty, and is rebuilt",
        _kill,
        _start_again,
        in_trouble("mirror", "redis_unreachable"),
    ),
    Fault(
        "redis-frozen",
        "Redis stands still (SIGSTOP): connections are open, and nothing answers",
        _freeze,
        _thaw,
        in_trouble("scan_log", "redis_timeout"),
    ),
    Fault(
        "redis-restarted-empty",
        "Redis is restarted and has lost everything, until the issuer notices",
        _restart,
        _mend,
        any_of(in_trouble("mirror", "not_there"), in_trouble("key_set", "not_there")),
    ),
    Fault(
        "redis-flushed",
        "FLUSHALL, until the issuer notices",
        _flush,
        _mend,
        any_of(in_trouble("mirror", "not_there"), in_trouble("key_set", "not_there")),
    ),
    Fault(
        "redis-read-only",
        "Redis has become a replica of a machine that is gone, and takes no writes",
        _follow_a_dead_master,
        _be_master_again,
        in_trouble("scan_log", "redis_read_only"),
    ),
    Fault(
        "redis-loading",
        "Redis has restarted, and loads what it had saved",
        _Loading.strike,
        _Loading.heal,
        in_trouble("mirror", "redis_loading"),
    ),
    Fault(
        "redis-out-of-memory",
        "Redis has no memory left, and takes no writes",
        _fill_up,
        _make_room,
        in_trouble("scan_log", "redis_out_of_memory"),
    ),
    Fault(
        "redis-wrong-types",
        "feed, epoch, key set, gate list and a shard are replaced by other types",
        _change_types,
        _mend,
        any_of(in_trouble("mirror", "not_status"), in_trouble("key_set", "not_status")),
    ),
    Fault(
        "redis-truncated-values",
        "shards, key set and gate list are cut off, and half an update is fed",
        _cut_values,
        _mend,
        all_of(in_trouble("mirror", "not_status"), in_trouble("key_set", "not_status")),
    ),
    Fault(
        "redis-foreign-writer",
        "somebody else writes into the feed: other epochs, no fields, what is no update, heartbeats",
        _foreign_writer.strike,
        _foreign_writer.heal,
        rises=f"{PREFIX}feed_refused_total",
    ),
    Fault(
        "feed-trimmed",
        "the feed is trimmed past a verifier that stood still for a moment",
        _trim_past_us,
        _nothing,
        rises=f"{PREFIX}feed_gaps_total",
    ),
    Fault(
        "issuer-down",
        "the issuer is gone: nobody writes, and no heartbeat comes",
        _nobody_mends,
        _mend,
        above("status_age_seconds", _SILENCE_S),
    ),
    Fault(
        "redis-slow",
        "each reply of Redis takes 200 ms more",
        _be_slow(_SLOW_S),
        _be_slow(0.0),
        in_trouble("entries", "redis_timeout"),
        needs=host_scene,
    ),
)
