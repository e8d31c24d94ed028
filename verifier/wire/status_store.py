"""How status lies in Redis: names of keys, shards, and the bytes of feed entries.

    gatelight:{p}:status:<shard>   string, 65 536 records; record i at 8 * (i mod 65 536)
    gatelight:{p}:feed             stream: field e = epoch, field u = updates; no u: heartbeat;
                                   field p = partitions, in decimal digits; older issuers have none
    gatelight:{p}:epoch            key_id of the root, "-", random id; new at every rebuild
    gatelight:key_set              the key set, signed
    gatelight:gates                the gate list, signed

where p = shard mod partitions. The `{p}` is a Redis Cluster hash tag: record and feed of a partition
lie on one node, so one MULTI writes both. An update is 12 bytes: credential_index (u32) and record
(u64), little-endian. An update carries the whole record, so reading one twice is harmless.

The epoch names the root whose issuer wrote the status. Indices mean something to that issuer alone: with
two issuers on one Redis, one's green would be the other's red.
"""

import re
import struct
from collections.abc import Iterable, Sequence

from verifier.wire.errors import StatusError
from verifier.wire.status_record import RECORD_BYTES

KEY_SET_KEY = "gatelight:key_set"
GATE_LIST_KEY = "gatelight:gates"
RECORDS_PER_SHARD = 65_536
SHARD_BYTES = RECORDS_PER_SHARD * RECORD_BYTES
MAX_SHARD = 2**32 // RECORDS_PER_SHARD - 1
# At one entry a second this is eleven days; at full load, a verifier that was away for minutes.
FEED_MAX_ENTRIES = 1_000_000
# 48 KiB: large enough to carry a million changes in 250 entries, small enough to hold up nobody.
MAX_UPDATES_PER_ENTRY = 4_096
EPOCH_FIELD = b"e"
UPDATES_FIELD = b"u"
PARTITIONS_FIELD = b"p"

_UPDATE = struct.Struct("<IQ")
_EPOCH = re.compile(rb"([0-9a-f]{16})-[0-9a-f]+")


def shard_of(credential_index: int) -> int:
    """Return the shard that holds a credential's record."""
    return credential_index // RECORDS_PER_SHARD


def partition_of(shard: int, partitions: int) -> int:
    """Return the partition of a shard, 0 to partitions - 1."""
    return shard % partitions


def offset_of(credential_index: int) -> int:
    """Return where in its shard a credential's record begins, in bytes."""
    return RECORD_BYTES * (credential_index % RECORDS_PER_SHARD)


def status_key(shard: int, partitions: int) -> str:
    """Return the key of a shard."""
    return f"gatelight:{{{partition_of(shard, partitions)}}}:status:{shard}"


def feed_key(partition: int) -> str:
    """Return the key of a partition's feed."""
    return f"gatelight:{{{partition}}}:feed"


def epoch_key(partition: int) -> str:
    """Return the key of a partition's epoch."""
    return f"gatelight:{{{partition}}}:epoch"


def new_epoch(root_key_id: bytes, random_id: bytes) -> str:
    """Return the epoch of a rebuild by the issuer with that root."""
    return f"{root_key_id.hex()}-{random_id.hex()}"


def owner_of(epoch: bytes) -> bytes | None:
    """Return the key_id of the root whose issuer wrote the epoch; None where it is no epoch."""
    found = _EPOCH.fullmatch(epoch)
    return bytes.fromhex(found[1].decode()) if found else None


def encode_updates(updates: Sequence[tuple[int, int]]) -> bytes:
    """Return the `u` of a feed entry for 1 to 4 096 pairs of credential_index and record.

    Raises StatusError.
    """
    if not 1 <= len(updates) <= MAX_UPDATES_PER_ENTRY:
        raise StatusError(f"expected 1 to {MAX_UPDATES_PER_ENTRY} updates, got {len(updates)}")
    try:
        return b"".join(_UPDATE.pack(*update) for update in updates)
    except struct.error:
        raise StatusError("expected an index under 2**32 and a record under 2**64") from None


def decode_updates(encoded: bytes) -> Iterable[tuple[int, int]]:
    """Return the pairs of credential_index and record in the `u` of a feed entry; raises StatusError."""
    count, rest = divmod(len(encoded), _UPDATE.size)
    if rest or not 1 <= count <= MAX_UPDATES_PER_ENTRY:
        raise StatusError(
            f"expected 1 to {MAX_UPDATES_PER_ENTRY} updates of 12 bytes, got {len(encoded)} bytes"
        )
    return _UPDATE.iter_unpack(encoded)
