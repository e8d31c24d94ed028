"""Writes status into a real Redis by hand, also in ways that an issuer never would."""

import redis

from tests.signer import Signer
from verifier.wire.status_store import (
    RECORDS_PER_SHARD,
    encode_updates,
    epoch_key,
    feed_key,
    new_epoch,
    offset_of,
    shard_of,
    status_key,
)

ROOT_KEY_ID = Signer().root_key_id


class StatusInRedis:
    """The status of all partitions, laid out as in verifier/wire/status_store.py."""

    def __init__(self, client: redis.Redis, *, partitions: int = 1) -> None:
        self.client = client
        self.partitions = partitions
        self.epoch = b""

    def rebuild(self, epoch: bytes, records: dict[int, int] | None = None) -> None:
        """Write records, then begin a new epoch with a heartbeat."""
        for index, record in (records or {}).items():
            self.set_record(index, record)
        self.epoch = new_epoch(ROOT_KEY_ID, epoch).encode()
        for partition in range(self.partitions):
            self.client.set(epoch_key(partition), self.epoch)
            self.heartbeat(partition)

    def set_record(self, index: int, record: int) -> None:
        """Write a record without a word in the feed."""
        key = status_key(shard_of(index), self.partitions)
        self.client.setrange(key, offset_of(index), record.to_bytes(8, "little"))

    def change(self, index: int, record: int) -> None:
        """Write a record and tell the feed."""
        self.set_record(index, record)
        partition = index // RECORDS_PER_SHARD % self.partitions
        self.client.xadd(feed_key(partition), {"e": self.epoch, "u": encode_updates([(index, record)])})

    def heartbeat(self, partition: int = 0, *, entry_id: str = "*") -> None:
        """Add an entry without updates."""
        self.client.xadd(feed_key(partition), {"e": self.epoch}, id=entry_id)
