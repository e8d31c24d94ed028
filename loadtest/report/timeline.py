"""A run as its pictures need it: some hundreds of slots at most, however long it was.

A slot is a sum of whole seconds, not a sample of them: nothing that happened is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from loadtest.recording import Recording, Second, ServerSample

_MOST_SLOTS = 600
# A server of which nothing was seen for so long was not there.
_GONE_S = 3.0
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Slot:
    """Some seconds that are drawn as one point."""

    begins_s: float  # since the beginning of the run
    lasts_s: float
    total: Second  # in_flight is the most of one second

    @property
    def middle_s(self) -> float:
        """Where the point is."""
        return self.begins_s + self.lasts_s / 2


@dataclass(frozen=True, slots=True)
class ServerPoint:
    """A server during a slot; None where it was not there, or had just come."""

    at_s: float  # since the beginning of the run
    cores: float | None = None
    memory_mib: float | None = None  # the most
    descriptors: int | None = None  # the most


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run, from its beginning, in slots of equal width; the first and the last may be shorter or longer."""

    slots: Sequence[Slot]
    servers: Mapping[str, Sequence[ServerPoint]]
    total: Second  # the whole recording; in_flight is the most of one second

    @classmethod
    def of(cls, recording: Recording) -> "Timeline":
        """Add up the seconds of `recording`."""
        width_s = _width_s(recording)
        slots = _slots(recording, width_s)
        total = Second()
        for slot in slots:
            add_later(total, slot.total)
        # Generators note what they use while they wait for the beginning.
        begun = [slot for slot in slots if slot.begins_s + slot.lasts_s > 0]
        by_name = groupby(sorted(recording.servers, key=attrgetter("name", "at")), attrgetter("name"))
        servers = {name: _points(list(samples), recording.began_at, width_s) for name, samples in by_name}
        return cls(_without_slivers(begun, width_s), servers, total)


def add_later(total: Second, second: Second) -> None:
    """Add another second, not another generator in the same one: what was under way does not add up."""
    most = max(total.in_flight, second.in_flight)
    total.add(second)
    total.in_flight = most


def _width_s(recording: Recording) -> int:
    if not recording.seconds:
        return 1
    span_s = max(recording.seconds) - min(recording.seconds) + 1
    least = -(-span_s // _MOST_SLOTS)
    return next((width_s for width_s in _WIDTHS_S if width_s >= least), least)


def _slots(recording: Recording, width_s: int) -> list[Slot]:
    totals: dict[int, Second] = {}
    for at, second in sorted(recording.seconds.items()):
        add_later(totals.setdefault(at // width_s, Second()), second)
    if not totals:
        return []
    ends_at = recording.began_at + recording.plan.duration_s
    slots = []
    for number in range(min(totals), max(totals) + 1):
        begins_at, slot_ends_at = float(number * width_s), float((number + 1) * width_s)
        if begins_at < recording.began_at < slot_ends_at:
            begins_at = recording.began_at
        if begins_at < ends_at < slot_ends_at and number == max(totals):
            slot_ends_at = ends_at
        slot = Slot(begins_at - recording.began_at, slot_ends_at - begins_at, totals.get(number, Second()))
        slots.append(slot)
    return slots


def _without_slivers(slots: list[Slot], width_s: int) -> Sequence[Slot]:
    """The run begins and ends within seconds of the clock; a rate over a few milliseconds says nothing."""
    for end, neighbour in ((0, 1), (-1, -2)):
        if len(slots) > 1 and slots[end].lasts_s < width_s / 2:
            begins_s = min(slots[end].begins_s, slots[neighbour].begins_s)
            total = Second()
            add_later(total, slots[end].total)
            add_later(total, slots[neighbour].total)
            slots[neighbour] = Slot(begins_s, slots[end].lasts_s + slots[neighbour].lasts_s, total)
            del slots[end]
    return slots


def _points(samples: Sequence[ServerSample], began_at: float, width_s: int) -> Sequence[ServerPoint]:
    points: list[ServerPoint] = []
    before: ServerSample | None = None
    for _, group in groupby(_added_up(samples), lambda sample: sample.at // width_s):
        inside = list(group)
        if before is not None and inside[0].at - before.at > max(_GONE_S, 2 * width_s):
            points.append(ServerPoint((before.at + inside[0].at) / 2 - began_at))
            before = None
        chain = [before, *inside] if before is not None else inside
        span_s = chain[-1].at - chain[0].at
        points.append(
            ServerPoint(
                at_s=(chain[0].at + chain[-1].at) / 2 - began_at,
                cores=(chain[-1].cpu_s - chain[0].cpu_s) / span_s if span_s > 0 else None,
                memory_mib=max(sample.memory_mib for sample in inside),
                descriptors=max(sample.descriptors for sample in inside),
            )
        )
        before = inside[-1]
    return points


def _added_up(samples: Sequence[ServerSample]) -> Iterator[ServerSample]:
    """Return the samples with the CPU time since the first one, which never falls.

    A server that was started anew counts from zero again. One that is the same and yet has used less has lost
    a process: for good, or for one sample, in which that process ended and its parent had not taken over its
    time yet. So a sample is compared with the higher one of the two before it.
    """
    used_s, pid, before_s, most_s = 0.0, None, 0.0, 0.0
    for sample in samples:
        if pid is None:
            before_s = most_s = sample.cpu_s
        elif sample.pid != pid:
            before_s = most_s = 0.0
        used_s += max(0.0, sample.cpu_s - most_s)
        pid, before_s, most_s = sample.pid, sample.cpu_s, max(before_s, sample.cpu_s)
        yield replace(sample, cpu_s=used_s)
