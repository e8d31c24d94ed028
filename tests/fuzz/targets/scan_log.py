"""Scan-log frames, the batches the archive reads, and the notes of a shipper."""

from issuer.archive.entries import dated_by, read_batch
from issuer.archive.stream import _entry
from tests.fuzz.keys import NOW
from tests.fuzz.target import Input, Target, piece
from verifier.journal.shipped import Ledger, Note
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.wire.scan_log import HEAD_BYTES, MAX_BATCH_BYTES, MAX_ENTRY_BYTES, frame, read_frames

FRAMES, BATCH, FIELDS, NOTE, LEDGER, ENTRIES = range(6)


def run(content: bytes) -> None:
    """Read one."""
    given = Input(content)
    (_frames, _batch, _fields, _note, _ledger, _entries)[given.number() % 6](given)


def _frames(given: Input) -> None:
    content = given.rest()
    last = 0
    for end, entry in read_frames(content):
        assert 1 <= len(entry) <= MAX_ENTRY_BYTES
        assert last < end <= len(content)
        assert content[end - HEAD_BYTES - len(entry) : end] == frame(entry), "what came is not a sound frame"
        assert end - HEAD_BYTES - len(entry) >= last, "two entries from the same bytes"
        last = end


def _batch(given: Input) -> None:
    content = given.rest()
    batch = read_batch(content)
    assert len(content) <= MAX_BATCH_BYTES
    if not batch.is_damaged:
        assert len(list(read_frames(content))) == len(batch.rows)
    for row in dated_by(batch.rows, now_ms=NOW * 1000):
        assert row.gate
        assert row.scan_id
        assert 0 < row.verified_at_ms <= (NOW + 86_400) * 1000
        for number in row:
            assert not isinstance(number, int) or -(2**63) <= number < 2**63


def _fields(given: Input) -> None:
    fields = {given.pick((b"j", b"n", b"p", b"e", b"x")): given.piece() for _ in range(4)}
    entry = _entry(b"1-1", fields)
    assert entry.journal == "" or len(entry.journal) == 16
    assert 0 <= entry.number < 10**20
    assert 0 <= entry.previous < 10**20
    read_batch(entry.frames)


def _note(given: Input) -> None:
    encoded = given.rest()
    note = Note.decode(encoded)
    assert Note.decode(note.encode()) == note
    assert note.number >= 0
    assert all(type(at) is int and at >= 0 for at in note.positions.values())
    assert all(isinstance(name, str) for name in note.positions)


def _ledger(given: Input) -> None:
    """Numbers go up, and nothing is archived that the archive did not confirm."""
    ledger = Ledger()
    highest, confirmed = 0, 0
    reached: dict[int, int] = {}
    for _ in range(32):
        if given.is_at_end:
            return
        step = given.number() % 4
        if step == 0:
            note = Note.decode(given.piece())
            archived_number = given.number(2)
            ledger.believe(note, archived_number=archived_number, least_number=given.number(2))
        elif step == 1:
            at = given.number(2)
            numbers, planned = ledger.plan({"a": at}, given.number() % 4)
            assert not numbers or numbers[0] > highest, "a number was given out twice"
            highest = max([highest, *numbers])
            if given.number() & 1:
                ledger.shipped(planned, b"1-1" if numbers else None)
                if numbers:
                    reached[planned.number] = at
        elif step == 2:
            confirmed = given.number(2)
            ledger.confirm(confirmed)
        else:
            ledger.forget({"a"} if given.number() & 1 else set())
        assert all(at >= 0 for at in ledger.archived.values())


def _entries(given: Input) -> None:
    """Entries that are written are read, with and without rubbish between them."""
    written, content = [], b""
    is_clean = True
    while not given.is_at_end:
        entry = given.piece()[:MAX_ENTRY_BYTES] or b"x"
        written.append(entry)
        content += frame(entry)
        if given.number() & 1:
            rubbish = given.piece().replace(b"GL", b"..").rstrip(b"G")
            is_clean &= not rubbish
            content += rubbish
    assert [entry for _, entry in read_frames(content)] == written
    if len(content) <= MAX_BATCH_BYTES and not is_clean:
        assert read_batch(content).is_damaged


def seeds() -> list[bytes]:
    """Return some of each."""
    entry = ScanLogEntry(
        scan_id="s1",
        gate_id="north-3/2",
        verified_at_ms=NOW * 1000,
        credential_index=7,
        kind=1,  # type: ignore[arg-type]
        not_before=NOW - 5,
        expires_at=NOW + 55,
        verdict=1,  # type: ignore[arg-type]
        colour=1,  # type: ignore[arg-type]
        status_age_ms=200,
        code_hash=bytes(range(16)),
    ).SerializeToString()
    note = Note(17, {"00000000000000000001-0-00000000.scans": 300}).encode()
    return [
        bytes([FRAMES]) + frame(entry) + b"GL" + frame(b"") + frame(entry)[:-3],
        bytes([BATCH]) + frame(entry) * 2,
        bytes([BATCH]) + frame(entry) + b"rubbish" + frame(entry),
        bytes([FIELDS, 0]) + piece(b"00112233aabbccdd") + b"\1" + piece(b"17") + b"\3" + piece(frame(entry)),
        bytes([NOTE]) + note,
        bytes([NOTE]) + b'{"n":1e400,"at":{"a":-1}}',
        bytes([NOTE]) + b"[" * 200,
        bytes([LEDGER, 0]) + piece(note) + bytes([0, 1, 0, 5, 1, 0, 9, 2, 1, 2, 0, 7, 3, 1, 1, 0, 12, 1, 1]),
        bytes([ENTRIES])
        + piece(entry)
        + b"\0"
        + piece(b"x")
        + b"\1"
        + piece(b"rubbish")
        + piece(entry)
        + b"\0",
    ]


TARGET = Target("scan_log", run, seeds, max_bytes=4_096, words=(b"GL", b'"n":', b'"at":{', b"1e999", b"NaN"))
