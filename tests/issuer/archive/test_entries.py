"""What becomes of a batch, sound or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.archive.entries import identity_of, read_batch
from tests.issuer.archive.passages import NOW, NOW_MS, frames, passage, rows
from verifier.wire.scan_log import MAX_BATCH_BYTES, frame


def test_an_entry_becomes_a_row_with_all_that_it_says() -> None:
    (row,) = rows(passage(gate_id="hub/lane-2", scan_id="s", code_hash=b"h" * 16))
    assert (row.gate, row.lane, row.gate_id, row.scan_id) == (b"hub", b"/lane-2", b"hub/lane-2", b"s")
    assert (row.verified_at_ms, row.credential_index, row.kind, row.verdict) == (NOW_MS, 7, 1, 1)
    assert (row.expires_at - row.not_before, row.colour, row.status_age_ms) == (60, 1, 200)
    assert row.identity == identity_of(b"hub/lane-2", b"s", 1, b"h" * 16, NOW - 30)


def test_the_identity_is_of_gate_scan_verdict_and_code_and_nothing_else() -> None:
    same: dict[str, object] = {"scan_id": "s", "gate_id": "g", "code_hash": b"h" * 16}
    first, again = rows(passage(**same), passage(**same, verified_at_ms=NOW_MS + 5_000, status_age_ms=9))
    assert first.identity == again.identity
    others: list[dict[str, object]] = [
        {"scan_id": "t"},
        {"gate_id": "h"},
        {"verdict": 2},
        {"code_hash": b"i" * 16},
    ]
    identities = {row.identity for other in others for row in rows(passage(**same | other))}
    assert len(identities | {first.identity}) == 5


def test_what_is_cut_differently_has_another_identity() -> None:
    assert identity_of(b"ab", b"c", 1, b"", 0) != identity_of(b"a", b"bc", 1, b"", 0)


@pytest.mark.parametrize(
    "text", ["\0", "\x1b[2J", "北门 3", "\u202egate", "'; DROP TABLE scans; --", "/", "a/b/c"]
)
def test_any_text_is_kept_as_it_came(text: str) -> None:
    (row,) = rows(passage(gate_id=text, scan_id=text))
    assert (row.gate_id.decode(), row.scan_id.decode()) == (text, text)


@pytest.mark.parametrize(
    "fields",
    [
        {"gate_id": ""},
        {"scan_id": ""},
        {"verdict": 0},
        {"verdict": 256},
        {"verdict": -1},
        {"kind": 1_000},
        {"colour": -1},
        {"code_hash": b"short"},
        {"verified_at_ms": 0},
        {"verified_at_ms": -1},
        {"verified_at_ms": 2**62},
        {"not_before": -1},
        {"expires_at": 2**62},
    ],
    ids=str,
)
def test_an_entry_that_no_verifier_writes_is_left_out_and_the_others_stay(fields: dict[str, object]) -> None:
    batch = read_batch(frames(passage(), passage(**fields), passage()))
    assert len(batch.rows) == 2
    assert batch.is_damaged


def test_a_sound_batch_is_not_damaged_and_may_be_empty() -> None:
    assert not read_batch(frames(passage(), passage(status_age_ms=2**64 - 1))).is_damaged
    assert not read_batch(b"").is_damaged


@pytest.mark.parametrize(
    "damaged",
    [
        frames(passage())[:-1],
        b"x" + frames(passage()),
        frames(passage()) + b"x",
        frame(b"\xff\xff\xff"),
        b"LG" * 50,
        bytes(MAX_BATCH_BYTES + 1),
        None,
    ],
)
def test_damage_is_noticed(damaged: bytes | None) -> None:
    assert read_batch(damaged).is_damaged


@given(st.binary(max_size=200), st.integers(0, 199), st.integers(0, 255))
def test_nothing_that_lies_in_the_stream_raises(content: bytes, place: int, value: int) -> None:
    read_batch(content)
    flipped = bytearray(frames(passage(), passage()))
    flipped[place % len(flipped)] = value
    assert len(read_batch(bytes(flipped)).rows) <= 2
