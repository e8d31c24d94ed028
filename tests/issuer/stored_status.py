"""Reads what an issuer has written to Redis, straight from the keys."""

import re
from dataclasses import dataclass
from typing import Any

import redis

from verifier.wire.status_store import RECORDS_PER_SHARD, decode_updates, feed_key, partition_of


@dataclass(frozen=True)
class Entry:
    """One feed entry."""

    epoch: bytes
    updates: list[tuple[int, int]]


class StoredStatus:
    """The status in a Redis."""

    def __init__(self, client: redis.Redis, partitions: int = 1) -> None:
        self._client = client
        self._partitions = partitions

    def records(self) -> dict[int, int]:
        """Return all records that are not zero, by index; fails on a shard in the wrong partition."""
        records: dict[int, int] = {}
        for key in self._client.scan_iter("gatelight:{*}:status:*"):
            partition, shard = (int(number) for number in re.findall(rb"\d+", key))
            assert partition == partition_of(shard, self._partitions)
            content: Any = self._client.get(key)
            for at, record in enumerate(memoryview(content).cast("Q")):
                if record:
                    records[shard * RECORDS_PER_SHARD + at] = record
        return records

    def feed(self, partition: int = 0) -> list[Entry]:
        """Return all entries of a feed, oldest first."""
        entries: Any = self._client.xrange(feed_key(partition))
        return [
            Entry(fields[b"e"], list(decode_updates(fields[b"u"])) if b"u" in fields else [])
            for _, fields in entries
        ]
