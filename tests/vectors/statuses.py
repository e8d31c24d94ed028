"""Status records and feed entries, written out bit by bit."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """A status record and its 64 bits."""

    name: str
    colour: int = 0
    state: int = 0
    generation: int = 0
    reason: int = 0
    last_negative_test_min: int = 0

    @property
    def bits(self) -> int:
        """The fields from the highest bit down, as design and verifier.wire.status_record have them."""
        fields = (
            f"{self.last_negative_test_min:032b}",
            f"{self.reason:016b}",
            "0000",
            f"{self.generation:08b}",
            f"{self.state:02b}",
            f"{self.colour:02b}",
        )
        return int("".join(fields), 2)


def records() -> Iterator[Record]:
    """Make all of them."""
    yield Record("never heard of")
    yield Record("green and active", colour=1, state=1, generation=1)
    yield Record("yellow, reason 101", colour=2, state=1, generation=1, reason=101)
    yield Record("red, reason 300", colour=3, state=1, generation=2, reason=300)
    yield Record("suspended", colour=1, state=2, generation=1)
    yield Record("revoked", colour=1, state=3, generation=1)
    yield Record("active, no colour set", state=1, generation=1)
    yield Record("green with a test", colour=1, state=1, generation=1, last_negative_test_min=30_000_000)
    yield Record("all ones", 3, 3, 255, 65_535, 2**32 - 1)
    for generation in (0, 127, 128, 255):
        yield Record(f"generation {generation}", colour=1, state=1, generation=generation)
    for reason in (1, 255, 256, 65_535):
        yield Record(f"reason {reason}", colour=3, state=1, generation=1, reason=reason)
    for minutes in (1, 2**31, 2**32 - 1):
        yield Record(f"test at minute {minutes}", 1, 1, 1, last_negative_test_min=minutes)


def senseless_bits() -> Iterator[int]:
    """Make 64 bits that are no record: each of the reserved bits set, alone and in a sound record."""
    sound = Record("green and active", colour=1, state=1, generation=1).bits
    for reserved in range(12, 16):
        yield 1 << reserved
        yield sound | 1 << reserved
    yield 2**64 - 1


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A feed entry's updates and the bytes of its field `u`."""

    name: str
    updates: tuple[tuple[int, int], ...]

    @property
    def encoded(self) -> bytes:
        """Each index in 4 bytes and each record in 8, little-endian."""
        return b"".join(struct.pack("<I", index) + struct.pack("<Q", bits) for index, bits in self.updates)


def feed_entries() -> Iterator[FeedEntry]:
    """Make all of them."""
    green = Record("green and active", colour=1, state=1, generation=1).bits
    red = Record("red, reason 300", colour=3, state=1, generation=2, reason=300).bits
    yield FeedEntry("one update", ((1_234_567, green),))
    yield FeedEntry("two updates of one credential, the later one stands", ((1, green), (1, red)))
    yield FeedEntry("the first and the last credential", ((0, green), (2**32 - 1, 2**64 - 1)))
    yield FeedEntry("a credential forgotten", ((7, 0),))
    yield FeedEntry("twelve updates", tuple((index, green + (index << 16)) for index in range(12)))


def broken_feed_entries() -> Iterator[tuple[str, bytes]]:
    """Make what can't stand in `u`."""
    entry = FeedEntry("one update", ((1_234_567, 1),)).encoded
    yield "empty", b""
    yield "a byte short", entry[:-1]
    yield "a byte too long", entry + b"\0"
    yield "an index alone", entry[:4]
    yield "text", b"1234567=green"
