"""Rebuild, check and repair of Redis, in steps between which changes are published as usual.

Each step reads a shard from the register as it is, and writes it before anything else is read: only one
thread writes to Redis, so nothing older ever follows something newer, whatever is published in between.

Stopping after any step is safe, also by kill -9. What a rebuild beside running verifiers has written is
right, and they have heard of each change to it. A repaired record is fed to them in the MULTI that
writes it. No shard gets shorter or goes away while its epoch lasts, or no verifier would load it any more:
zeros stand for what does not belong there, and surplus shards go in the MULTI that gives the new epoch. A
rebuild that took the epoch away is begun again by the next turn of the publisher.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from issuer.errors import CacheMismatch
from issuer.register.keys import Keys
from issuer.register.outbox import FeedPosition, Outbox
from issuer.status_writer import Fence, StatusWriter
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import (
    GATE_LIST_KEY,
    KEY_SET_KEY,
    SHARD_BYTES,
    partition_of,
    status_key,
)

MAX_DIFFERING_INDICES = 100
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild or a check is, and what it found."""

    shards_done: int = 0
    shards_total: int = 0
    records: int = 0  # written, or compared
    differing_records: int = 0
    differing_indices: Sequence[int] = ()  # the first hundred
    problems: Sequence[str] = ()  # the first hundred
    is_done: bool = False
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class Cache:
    """What the steps work on: the register, and Redis as the publisher left it."""

    outbox: Outbox
    keys: Keys
    writer: StatusWriter
    fences: Callable[[], Mapping[int, Fence]]  # what to write behind, now
    adopt: Callable[[Mapping[int, FeedPosition]], None]  # takes a new epoch over
    gate_list: Callable[[], bytes | None] = lambda: None  # as it was signed last; None: not yet


CacheSteps = Callable[[Cache], Iterator[Progress]]


def rebuild(cache: Cache) -> Iterator[Progress]:
    """Write every byte of Redis anew, and give it a new epoch."""
    progress, surplus = yield from _write_status(cache)
    cache.writer.put_key_set(cache.keys.newest_key_set())
    if (gate_list := cache.gate_list()) is not None:
        cache.writer.write_gate_list(gate_list)
    _give_epoch(cache, surplus)
    yield replace(progress, is_done=True)


def rebuild_status(cache: Cache) -> Iterator[Progress]:
    """Do the same for status alone, and only in the partitions that there is something to write behind.

    Others, and servers of a Cluster without any of these, may be silent.
    """
    progress, surplus = yield from _write_status(cache, cache.fences())
    _give_epoch(cache, surplus)
    yield replace(progress, is_done=True)


def check(cache: Cache) -> Iterator[Progress]:
    """Compare every byte of Redis with the register."""
    return _compare(cache, is_repairing=False)


def repair(cache: Cache) -> Iterator[Progress]:
    """Compare every byte of Redis with the register, write anew what differs, and give a new epoch then.

    Raises CacheMismatch when that is not enough: the epoch is gone, or Redis was set back.
    """
    return _compare(cache, is_repairing=True)


def _compare(cache: Cache, *, is_repairing: bool) -> Iterator[Progress]:
    progress = Progress(shards_total=cache.outbox.count_shards())
    # 1. Whether it is the Redis that we wrote.
    mismatches = _mismatches(cache)
    if mismatches and is_repairing:
        raise CacheMismatch(mismatches[0])
    progress = _with_problems(progress, mismatches)
    yield progress
    # 2. The records.
    while (number := cache.outbox.next_shard(progress.shards_done)) is not None:
        progress = _compare_shard(cache, progress, number, is_repairing=is_repairing)
        yield progress
    # 3. What does not belong there.
    surplus: list[int] = []
    for keys in _surplus_keys(cache):
        progress = _with_problems(progress, [f"{_printable(key)}: does not belong there" for key in keys])
        if is_repairing:
            surplus += _clear(cache, keys)
        yield progress
    # 4. The key set and the gate list.
    newest = cache.keys.newest_key_set()
    if cache.writer.key_set() != newest:
        progress = _with_problems(progress, [f"{KEY_SET_KEY}: not the newest key set of the register"])
        if is_repairing:
            cache.writer.put_key_set(newest)
    gate_list = cache.gate_list()
    if gate_list is not None and cache.writer.gate_list() != gate_list:
        progress = _with_problems(progress, [f"{GATE_LIST_KEY}: not the newest gate list"])
        if is_repairing:
            cache.writer.write_gate_list(gate_list)
    # 5. Mirrors were loaded from what differed.
    is_repaired = is_repairing and bool(progress.differing_records or progress.problems)
    if is_repaired:
        _give_epoch(cache, surplus)
    yield replace(progress, is_done=True, is_repaired=is_repaired)


def _write_status(
    cache: Cache, partitions: Iterable[int] | None = None
) -> Generator[Progress, None, tuple[Progress, Sequence[int]]]:
    """Write every shard anew, of some partitions or of all; return the progress, and surplus shards."""
    progress = Progress(shards_total=cache.outbox.count_shards())
    while (number := cache.outbox.next_shard(progress.shards_done)) is not None:
        record_count = 0
        if _has_fence(cache, number):
            shard = cache.outbox.read_shard(number)
            cache.writer.write_shard(number, shard.content, cache.fences())
            record_count = shard.record_count
        progress = _after_shard(progress, number, record_count)
        yield progress
    surplus: list[int] = []
    for keys in _surplus_keys(cache, partitions):
        surplus += _clear(cache, keys)
        yield progress
    return progress, surplus


def _has_fence(cache: Cache, shard: int) -> bool:
    """Tell whether a shard lies in a partition that is written: a silent one has its turn later."""
    return partition_of(shard, cache.writer.partitions) in cache.fences()


def _mismatches(cache: Cache) -> Sequence[str]:
    found = (
        (partition, cache.writer.mismatch(partition, fence))
        for partition, fence in cache.fences().items()
        if isinstance(fence, FeedPosition)
    )
    return [f"partition {partition}: {mismatch}" for partition, mismatch in found if mismatch]


def _compare_shard(cache: Cache, progress: Progress, number: int, *, is_repairing: bool) -> Progress:
    held = cache.writer.shard(number)
    whole = len(held or b"") // RECORD_BYTES * RECORD_BYTES
    comparison = cache.outbox.compare(number, (held or b"")[: min(whole, SHARD_BYTES)])
    differing = comparison.differing
    problem = None
    if held is None:
        problem = "is no string"
    elif not held and differing:
        problem = "is missing"
    elif len(held) != whole or len(held) > SHARD_BYTES:
        problem = "has a length that no shard has"
    if is_repairing and (differing or problem):
        cache.writer.write_shard(number, comparison.shard.content, cache.fences(), differing)
    if problem:
        progress = _with_problems(progress, [f"{status_key(number, cache.writer.partitions)}: {problem}"])
    indices = [index for index, _ in differing[: MAX_DIFFERING_INDICES - len(progress.differing_indices)]]
    return replace(
        _after_shard(progress, number, comparison.shard.record_count),
        differing_records=progress.differing_records + len(differing),
        differing_indices=(*progress.differing_indices, *indices),
    )


def _after_shard(progress: Progress, number: int, record_count: int) -> Progress:
    return replace(
        progress,
        shards_done=number + 1,
        shards_total=max(progress.shards_total, number + 1),  # the register may grow meanwhile
        records=progress.records + record_count,
    )


def _surplus_keys(cache: Cache, partitions: Iterable[int] | None = None) -> Iterator[Sequence[bytes]]:
    """Give the keys of status that have no place there, page by page; a page may be empty."""
    for page in cache.writer.status_keys(partitions):
        yield [key for key in page if not _belongs(cache, key)]


def _belongs(cache: Cache, key: bytes) -> bool:
    if cache.writer.is_feed_or_epoch(key):
        return True
    shard = cache.writer.shard_at(key)
    return shard is not None and cache.outbox.next_shard(shard) == shard


def _clear(cache: Cache, keys: Sequence[bytes]) -> Sequence[int]:
    """Delete what does not belong there but shards, and return those, zeros until the epoch ends."""
    surplus = []
    for key in keys:
        shard = cache.writer.shard_at(key)
        if shard is None:
            cache.writer.delete(key, cache.fences())
        elif _has_fence(cache, shard):
            cache.writer.write_shard(shard, b"", cache.fences())
            surplus.append(shard)
    return surplus


def _give_epoch(cache: Cache, surplus: Sequence[int]) -> None:
    # The register may have grown into one of them meanwhile.
    gone = [shard for shard in surplus if cache.outbox.next_shard(shard) != shard]
    cache.adopt(cache.writer.give_epoch(cache.fences(), gone))


def _with_problems(progress: Progress, problems: Sequence[str]) -> Progress:
    return replace(progress, problems=(*progress.problems, *problems)[:_MAX_PROBLEMS])


def _printable(key: bytes) -> str:
    return ascii(key[:100].decode(errors="replace"))[1:-1]
