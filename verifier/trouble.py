"""What fails, and how: the parts of a verifier that may, and the few kinds of trouble to be told apart.

An error becomes its kind here and nowhere else, by its type and, for an error reply of Redis, by the reply's
code word: never by other text, which may quote what was sent. Metrics carry part and kind.
"""

import errno
from dataclasses import dataclass
from enum import StrEnum

import redis
from redis.exceptions import ClusterDownError, ClusterError, RedisClusterException

from verifier.errors import StatusMissing, StatusUnavailable
from verifier.wire.errors import (
    GateListError,
    GateListNotTrusted,
    GateListOutdated,
    KeySetError,
    KeySetNotTrusted,
    KeySetOutdated,
    StatusError,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)
# A lack of ours, and no fault of a disk.
_FEW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Part(StrEnum):
    """What may fail by itself."""

    KEY_SET = "key_set"
    GATE_LIST = "gate_list"
    MIRROR = "mirror"
    SCAN_LOG = "scan_log"  # from the journal to the archive
    KEPT_STATE = "kept_state"
    JOURNAL = "journal"  # in the workers
    ENTRIES = "entries"  # in the workers


class Trouble(StrEnum):
    """How it fails. The order is that of numbers in shared memory: new ones come last."""

    REDIS_UNREACHABLE = "redis_unreachable"  # refused, reset, no route, no master
    REDIS_TIMEOUT = "redis_timeout"
    REDIS_LOADING = "redis_loading"
    REDIS_READ_ONLY = "redis_read_only"
    REDIS_OUT_OF_MEMORY = "redis_out_of_memory"
    REDIS_REFUSED = "redis_refused"  # any other error reply
    NOT_STATUS = "not_status"  # what lies in Redis is not what must lie there
    NOT_TRUSTED = "not_trusted"  # not signed by whom it must be
    OUTDATED = "outdated"  # signed as it must be, but older than what we have, or over already
    NOT_THERE = "not_there"
    DISK_FULL = "disk_full"
    DISK = "disk"
    STALLED = "stalled"  # nothing failed, and nothing came to its end either
    OTHER = "other"
    REDIS_STOPS_WRITES = "redis_stops_writes"  # its own dump fails, or it has too few replicas


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How a part is."""

    trouble: Trouble | None  # None: well
    lasts_s: float  # since the last success; 0 while well


WELL = PartHealth(None, 0.0)

_KINDS = tuple(Trouble)
# By type, first that applies: redis-py derives nearly all of the first from its ConnectionError.
_BY_TYPE: tuple[tuple[type[Exception], Trouble], ...] = (
    (StatusMissing, Trouble.NOT_THERE),
    (StatusUnavailable, Trouble.NOT_STATUS),
    (StatusError, Trouble.NOT_STATUS),
    (KeySetNotTrusted, Trouble.NOT_TRUSTED),
    (GateListNotTrusted, Trouble.NOT_TRUSTED),
    (KeySetOutdated, Trouble.OUTDATED),
    (GateListOutdated, Trouble.OUTDATED),
    (KeySetError, Trouble.NOT_STATUS),
    (GateListError, Trouble.NOT_STATUS),
    (redis.BusyLoadingError, Trouble.REDIS_LOADING),
    (redis.ReadOnlyError, Trouble.REDIS_READ_ONLY),
    (redis.OutOfMemoryError, Trouble.REDIS_OUT_OF_MEMORY),
    (redis.AuthenticationError, Trouble.REDIS_REFUSED),
    (redis.exceptions.AuthorizationError, Trouble.REDIS_REFUSED),
    (ClusterDownError, Trouble.REDIS_UNREACHABLE),  # MASTERDOWN among them
    (redis.TimeoutError, Trouble.REDIS_TIMEOUT),
    (redis.ConnectionError, Trouble.REDIS_UNREACHABLE),
    (ClusterError, Trouble.REDIS_UNREACHABLE),
    (RedisClusterException, Trouble.REDIS_UNREACHABLE),
    (redis.WatchError, Trouble.OTHER),
    # What the system says of a connection, where redis-py does not put it in words of its own.
    (TimeoutError, Trouble.REDIS_TIMEOUT),
    (ConnectionError, Trouble.REDIS_UNREACHABLE),
)
# Replies that redis-py has no class for, or only in some of the commands.
_BY_REPLY = {
    "LOADING": Trouble.REDIS_LOADING,
    "READONLY": Trouble.REDIS_READ_ONLY,
    "OOM": Trouble.REDIS_OUT_OF_MEMORY,
    "MASTERDOWN": Trouble.REDIS_UNREACHABLE,
    "CLUSTERDOWN": Trouble.REDIS_UNREACHABLE,
    "MISCONF": Trouble.REDIS_STOPS_WRITES,
    "NOREPLICAS": Trouble.REDIS_STOPS_WRITES,
    # Somebody else's value at a name of ours: to be mended as any other that is not status.
    "WRONGTYPE": Trouble.NOT_STATUS,
}
# What redis-py puts before a reply ends so where it came to one of several commands.
_BEFORE_REPLY = " of pipeline caused error: "


def classify(error: BaseException) -> Trouble:
    """Return what kind of trouble an error is."""
    for kind, trouble in _BY_TYPE:
        if isinstance(error, kind):
            return trouble
    if isinstance(error, redis.RedisError):
        return _BY_REPLY.get(reply_code(error), Trouble.REDIS_REFUSED)
    if isinstance(error, OSError):
        if is_disk_full(error):
            return Trouble.DISK_FULL
        return Trouble.OTHER if error.errno in _FEW else Trouble.DISK
    return Trouble.OTHER


def reply_code(error: redis.RedisError) -> str:
    """Return the code word of an error reply, such as WRONGTYPE; empty where there is none.

    It is Redis's own, and no piece of what was sent.
    """
    if error.status_code is not None:  # redis-py has cut it off the text
        return error.status_code
    # Behind the last one: the command that stands before may quote anything.
    word = str(error).rpartition(_BEFORE_REPLY)[2].partition(" ")[0].rstrip(":")
    return word if word.isascii() and word.isalpha() and word.isupper() else ""


def is_disk_full(error: OSError) -> bool:
    """Tell whether there is no room, which may come back by itself."""
    return error.errno in _FULL


def to_number(trouble: Trouble | None) -> int:
    """Return the number of a kind in shared memory; 0 for none."""
    return 0 if trouble is None else 1 + _KINDS.index(trouble)


def from_number(number: int) -> Trouble | None:
    """Return what to_number was given; OTHER for a number that it never returns."""
    if number == 0:
        return None
    return _KINDS[number - 1] if number <= len(_KINDS) else Trouble.OTHER
