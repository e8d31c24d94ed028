"""Entries that wait for Redis: bounded, in order, and none beyond its end."""

from verifier.access.late_claims import MAX_BATCH, LateClaim, LateClaims


def _claim(number: int, forget_at: float = 100.0, scan: bytes = b"a") -> LateClaim:
    return LateClaim(f"1:{number}", scan, forget_at)


def test_claims_wait_in_order_until_they_are_removed() -> None:
    late = LateClaims()
    for number in range(MAX_BATCH + 1):
        late.add(_claim(number))
    first = late.first(0.0)
    assert list(first) == [_claim(number) for number in range(MAX_BATCH)]
    assert late.first(0.0) == first
    late.remove(first)
    assert late.first(0.0) == [_claim(MAX_BATCH)]


def test_a_card_that_may_enter_again_is_kept_for_its_new_scan() -> None:
    late = LateClaims()
    late.add(_claim(1, forget_at=5.0))
    late.add(_claim(1, scan=b"b"))
    assert late.first(6.0) == [_claim(1, scan=b"b")]


def test_claims_that_have_ended_are_forgotten() -> None:
    late = LateClaims()
    late.add(_claim(1, forget_at=5.0))
    late.add(_claim(2))
    assert late.first(5.0) == [_claim(2)]
    assert len(late) == 1


def test_beyond_the_limit_the_oldest_goes() -> None:
    late = LateClaims(limit=2)
    for number in range(3):
        late.add(_claim(number))
    assert late.first(0.0) == [_claim(1), _claim(2)]
