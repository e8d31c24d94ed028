"""All faults that gates are led through; each module has those of its area."""

from collections.abc import Iterator, Sequence

from loadtest.outages import (
    clock_faults,
    disk_faults,
    host_faults,
    key_faults,
    long_faults,
    redis_faults,
    redis_topology,
    start_faults,
    tls_faults,
)
from loadtest.outages.fault import Fault

FAULTS: Sequence[Fault] = (
    *redis_faults.FAULTS,
    *redis_topology.FAULTS,
    *key_faults.FAULTS,
    *host_faults.FAULTS,
    *disk_faults.FAULTS,
    *clock_faults.FAULTS,
    *tls_faults.FAULTS,
    *start_faults.FAULTS,
    *long_faults.FAULTS,
)


def groups_of(faults: Sequence[Fault]) -> Iterator[Sequence[Fault]]:
    """Yield the faults that are done to one scene, in their order."""
    groups: dict[object, list[Fault]] = {}
    for fault in faults:
        groups.setdefault(fault.needs, []).append(fault)
    yield from groups.values()
