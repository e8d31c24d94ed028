"""Errors become kinds of trouble: those that a real Redis gives, and those that it cannot be brought to."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.exceptions import (
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    RedisClusterException,
)
from redis.sentinel import MasterNotFoundError, SlaveNotFoundError

from loadtest.embedded_redis import EmbeddedRedis
from verifier.errors import StatusMissing, StatusUnavailable
from verifier.redis_connection import connect
from verifier.trouble import Trouble, classify, from_number, reply_code, to_number
from verifier.wire.errors import (
    GateListError,
    GateListNotTrusted,
    GateListOutdated,
    KeySetError,
    KeySetNotTrusted,
    KeySetOutdated,
    StatusError,
)


def _trouble(call: Callable[[], object]) -> Trouble:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is tested
        call()
    return classify(caught.value)


@contextlib.contextmanager
def _client(url: str, *, reply_timeout_s: float = 5.0) -> Iterator[redis.Redis]:
    client = connect(url, reply_timeout_s=reply_timeout_s, client_name="trouble")
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def _answering(reply: bytes) -> Iterator[str]:
    """A server that gives one answer to whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    while connection.recv(4096):
                        connection.sendall(reply)

        threading.Thread(target=answer, daemon=True).start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


def test_a_redis_in_every_state_is_told_by_its_errors(own_redis: EmbeddedRedis) -> None:
    with _client(own_redis.url) as client, _client(own_redis.url, reply_timeout_s=0.05) as hasty:
        client.set("text", "x")
        assert _trouble(lambda: client.xlen("text")) is Trouble.NOT_STATUS  # WRONGTYPE
        for is_transaction in (False, True):
            with client.pipeline(transaction=is_transaction) as several:
                several.get("text")
                several.xlen("text")
                assert _trouble(several.execute) is Trouble.NOT_STATUS
        client.config_set("min-replicas-to-write", 1)
        for is_transaction in (False, True):
            with client.pipeline(transaction=is_transaction) as several:
                several.xadd("stream", {"a": "b"})
                assert _trouble(several.execute) is Trouble.REDIS_STOPS_WRITES  # NOREPLICAS
        client.config_set("min-replicas-to-write", 0)
        client.config_set("maxmemory", 1)
        assert _trouble(lambda: client.set("more", "x")) is Trouble.REDIS_OUT_OF_MEMORY
        with client.pipeline() as transaction:
            transaction.xadd("stream", {"a": "b"})
            assert _trouble(transaction.execute) is Trouble.REDIS_OUT_OF_MEMORY
        client.config_set("maxmemory", 0)
        client.replicaof("127.0.0.1", 1)
        assert _trouble(lambda: client.set("more", "x")) is Trouble.REDIS_READ_ONLY
        client.config_set("replica-serve-stale-data", "no")
        assert _trouble(lambda: client.get("text")) is Trouble.REDIS_UNREACHABLE  # MASTERDOWN
        client.replicaof("NO", "ONE")
        client.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], commands=["+get", "+ping"], keys=["*"]
        )
        user = own_redis.url.replace("redis://", "redis://reader:{}@")
        with _client(user.format("secret")) as reader:
            assert _trouble(lambda: reader.set("text", "x")) is Trouble.REDIS_REFUSED  # NOPERM
        with _client(user.format("guessed")) as stranger:
            assert _trouble(stranger.ping) is Trouble.REDIS_REFUSED  # WRONGPASS
        hasty.ping()
        own_redis.freeze()
        assert _trouble(hasty.ping) is Trouble.REDIS_TIMEOUT
        own_redis.thaw()
        own_redis.kill()
        assert _trouble(client.ping) is Trouble.REDIS_UNREACHABLE  # reset
        assert _trouble(client.ping) is Trouble.REDIS_UNREACHABLE  # refused


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", Trouble.REDIS_LOADING),
        (b"-NOAUTH Authentication required.\r\n", Trouble.REDIS_REFUSED),
        (b"-CLUSTERDOWN The cluster is down\r\n", Trouble.REDIS_UNREACHABLE),
        (b"-ERR unknown command\r\n", Trouble.REDIS_REFUSED),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", Trouble.REDIS_STOPS_WRITES),
    ],
)
def test_replies_that_take_long_to_get_are_told_as_well(reply: bytes, trouble: Trouble) -> None:
    with _answering(reply) as url, _client(url) as client:
        assert _trouble(client.ping) is trouble
    with _answering(reply) as url, _client(url) as client, client.pipeline(transaction=False) as several:
        several.ping()
        assert _trouble(several.execute) is trouble


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
        ("Command # 1 (XADD s * a b) of pipeline caused error: MISCONF Redis is configured", "MISCONF"),
        ("Command # 1 (X ) of pipeline caused error: FORGED ) of pipeline caused error: OOM x", "OOM"),
        ("unknown command 'NOREPLICAS'", ""),
        ("CARD-77 is what was sent", ""),
        ("Command # 1 (SECRET) failed", ""),
        ("", ""),
    ],
)
def test_the_code_word_of_a_reply_is_no_piece_of_what_was_sent(text: str, code: str) -> None:
    assert reply_code(redis.ResponseError(text)) == code
    assert reply_code(redis.ResponseError(text, status_code="ERR")) == "ERR"


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (StatusMissing("none"), Trouble.NOT_THERE),
        (StatusUnavailable("another issuer's"), Trouble.NOT_STATUS),
        (StatusError("13 bytes"), Trouble.NOT_STATUS),
        (KeySetError("13 bytes"), Trouble.NOT_STATUS),
        (GateListError("13 bytes"), Trouble.NOT_STATUS),
        (KeySetNotTrusted("a stranger's"), Trouble.NOT_TRUSTED),
        (GateListNotTrusted("a stranger's"), Trouble.NOT_TRUSTED),
        (KeySetOutdated("version 1"), Trouble.OUTDATED),
        (GateListOutdated("version 1"), Trouble.OUTDATED),
        (AuthorizationError("no"), Trouble.REDIS_REFUSED),
        (ClusterDownError("CLUSTERDOWN"), Trouble.REDIS_UNREACHABLE),
        (MasterDownError("MASTERDOWN"), Trouble.REDIS_UNREACHABLE),
        (MasterNotFoundError("no master"), Trouble.REDIS_UNREACHABLE),
        (SlaveNotFoundError("no replica"), Trouble.REDIS_UNREACHABLE),
        (RedisClusterException("no node answers"), Trouble.REDIS_UNREACHABLE),
        (redis.WatchError("changed"), Trouble.OTHER),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Trouble.REDIS_UNREACHABLE),
        (TimeoutError("slow"), Trouble.REDIS_TIMEOUT),
        (OSError(errno.ENOSPC, "full"), Trouble.DISK_FULL),
        (OSError(errno.EDQUOT, "full"), Trouble.DISK_FULL),
        (OSError(errno.EROFS, "read-only"), Trouble.DISK),
        (OSError(errno.EIO, "broken"), Trouble.DISK),
        (OSError(errno.EMFILE, "too many"), Trouble.OTHER),
        (MemoryError(), Trouble.OTHER),
    ],
)
def test_every_other_error_has_its_kind(error: Exception, trouble: Trouble) -> None:
    assert classify(error) is trouble


def test_kinds_travel_as_numbers() -> None:
    assert [from_number(to_number(kind)) for kind in (None, *Trouble)] == [None, *Trouble]
    assert from_number(len(Trouble) + 1) is Trouble.OTHER
