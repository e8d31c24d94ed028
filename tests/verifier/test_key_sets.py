"""Key sets are taken when the pinned root signed them and they are newer; nothing else replaces one."""

from collections.abc import Iterator, Sequence

import pytest
import redis

from tests.signer import Signer
from verifier.errors import NotReady, StatusMissing
from verifier.host.key_set_document import pack, unpack
from verifier.host.shared import MAX_KEY_SETS
from verifier.key_set_follower import KeySetFollower, KeySets
from verifier.wire.errors import KeySetError, KeySetNotTrusted, KeySetOutdated
from verifier.wire.key_set import KeySet
from verifier.wire.status_store import KEY_SET_KEY

NOW = 1_800_000_000


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def key_sets(signer: Signer) -> KeySets:
    return KeySets(signer.root)


def test_without_a_key_set_nothing_is_in_force(key_sets: KeySets) -> None:
    with pytest.raises(NotReady, match="no key set yet"):
        key_sets.in_force(NOW)


def test_a_key_set_signed_by_the_root_is_taken(key_sets: KeySets, signer: Signer) -> None:
    assert key_sets.offer(signer.key_set(issued_at=NOW))
    assert list(key_sets.in_force(NOW).keys.values()) == [signer.key]


def test_the_same_key_set_again_is_passed_over(key_sets: KeySets, signer: Signer) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW))
    assert not key_sets.offer(signer.key_set(issued_at=NOW))


def test_the_key_set_in_force_is_no_trouble_after_nonsense(key_sets: KeySets, signer: Signer) -> None:
    signed = signer.key_set(issued_at=NOW, version=7)
    key_sets.offer(signed)
    with pytest.raises(KeySetError):
        key_sets.offer(b"nonsense")
    assert not key_sets.offer(signed)


@pytest.mark.parametrize("version", [6, 7])
def test_a_version_that_is_not_higher_is_refused(key_sets: KeySets, signer: Signer, version: int) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW, version=7))
    with pytest.raises(KeySetError, match="above 7"):
        key_sets.offer(signer.key_set(issued_at=NOW + 1, version=version))
    assert key_sets.in_force(NOW).version == 7


def test_a_key_set_signed_by_a_stranger_is_refused(key_sets: KeySets, signer: Signer) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW))
    with pytest.raises(KeySetError):
        key_sets.offer(Signer("stranger").key_set(issued_at=NOW, version=9))
    assert list(key_sets.in_force(NOW).keys.values()) == [signer.key]


def test_a_key_set_for_tomorrow_takes_over_tomorrow(key_sets: KeySets, signer: Signer) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW, version=1))
    key_sets.offer(signer.key_set(issued_at=NOW + 3_600, version=2))
    assert key_sets.in_force(NOW).version == 1
    assert key_sets.in_force(NOW + 3_600).version == 2


def test_a_key_that_a_key_set_of_tomorrow_leaves_out_is_refused_today(
    key_sets: KeySets, signer: Signer
) -> None:
    other = Signer("another").key
    key_sets.offer(signer.key_set(version=1, issued_at=NOW, keys=[signer.key, other]))
    key_sets.offer(signer.key_set(version=2, issued_at=NOW + 300, keys=[other]))
    assert list(key_sets.in_force(NOW).keys.values()) == [other]


def test_several_key_sets_of_tomorrow_leave_the_one_of_today_in_force(
    key_sets: KeySets, signer: Signer
) -> None:
    key_sets.offer(signer.key_set(version=1, issued_at=NOW))
    for version in range(2, 5):
        key_sets.offer(signer.key_set(version=version, issued_at=NOW + 300 + version))
    assert key_sets.in_force(NOW).version == 1
    assert key_sets.in_force(NOW + 3_600).version == 4


def test_whoever_is_offered_what_was_taken_comes_to_know_the_same(key_sets: KeySets, signer: Signer) -> None:
    other = Signer("another").key
    assert (key_sets.version, key_sets.signed) == (0, ())
    key_sets.offer(signer.key_set(version=1, issued_at=NOW, keys=[signer.key, other]))
    for version in range(2, 7):
        key_sets.offer(signer.key_set(version=version, issued_at=NOW + 300 + version, keys=[other]))
    follower = KeySets(signer.root)
    for signed in unpack(pack(key_sets.signed)):
        assert follower.offer(signed)
    for now in (NOW, NOW + 303, NOW + 304, NOW + 3_600):
        try:
            expected: KeySet | None = key_sets.in_force(now)
        except NotReady:
            with pytest.raises(NotReady):
                follower.in_force(now)
        else:
            assert follower.in_force(now) == expected
    assert follower.version == key_sets.version == 6
    assert len(key_sets.signed) == MAX_KEY_SETS


def test_a_document_of_key_sets_that_ends_early_gives_what_is_whole() -> None:
    packed = pack([b"one", b"", b"three"])
    assert unpack(packed) == [b"one", b"", b"three"]
    assert unpack(packed[:-1]) == [b"one", b""]
    assert unpack(packed[:9]) == [b"one"]
    assert unpack(b"") == []


@pytest.mark.parametrize(
    ("now", "is_in_force"),
    [(NOW - 31, False), (NOW - 30, True), (NOW + 99, True), (NOW + 100, False), (NOW + 101, False)],
)
def test_a_key_set_is_in_force_from_its_issue_to_its_end(
    key_sets: KeySets, signer: Signer, now: int, is_in_force: bool
) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW, valid_s=100))
    if is_in_force:
        assert key_sets.in_force(now).version == 1
    else:
        with pytest.raises(NotReady, match="not in force"):
            key_sets.in_force(now)


def test_it_is_known_from_when_a_key_set_of_tomorrow_is_in_force(key_sets: KeySets, signer: Signer) -> None:
    assert key_sets.starts_at(NOW) is None
    key_sets.offer(signer.key_set(version=1, issued_at=NOW + 300, valid_s=1_000))
    key_sets.offer(signer.key_set(version=2, issued_at=NOW + 3_600, valid_s=100))
    told = [key_sets.starts_at(NOW + after_s) for after_s in (0, 269, 270, 1_299)]
    assert told == [NOW + 270, NOW + 270, None, None]
    # Between the end of the first and the beginning of the second, and at the end of all.
    told = [key_sets.starts_at(NOW + after_s) for after_s in (1_300, 3_569, 3_570, 3_700)]
    assert told == [NOW + 3_570, NOW + 3_570, None, None]


@pytest.fixture
def follower(redis_url: str, key_sets: KeySets) -> Iterator[KeySetFollower]:
    follower = KeySetFollower(redis_url=redis_url, key_sets=key_sets)
    yield follower
    follower.close()


def test_a_new_key_set_in_redis_is_taken_and_published_once(
    redis_url: str, key_sets: KeySets, signer: Signer
) -> None:
    published: list[Sequence[bytes]] = []
    follower = KeySetFollower(redis_url=redis_url, key_sets=key_sets, publish=published.append)
    signed = signer.key_set(issued_at=NOW)
    with redis.Redis.from_url(redis_url) as client:
        client.set(KEY_SET_KEY, signed)
    follower.refresh()
    follower.refresh()
    follower.close()
    assert key_sets.in_force(NOW).version == 1
    assert published == [(signed,)]


def test_a_key_set_that_could_not_be_published_is_published_later_whatever_redis_holds_then(
    redis_url: str, key_sets: KeySets, signer: Signer
) -> None:
    published: list[Sequence[bytes]] = []

    def publish(signed_sets: Sequence[bytes]) -> None:
        published.append(signed_sets)
        if len(published) == 1:
            raise OSError(12, "Cannot allocate memory")

    follower = KeySetFollower(redis_url=redis_url, key_sets=key_sets, publish=publish)
    signed = signer.key_set(issued_at=NOW)
    with redis.Redis.from_url(redis_url) as client:
        client.set(KEY_SET_KEY, signed)
        with pytest.raises(OSError, match="memory"):
            follower.refresh()
        client.delete(KEY_SET_KEY)
    for _ in range(2):
        with pytest.raises(StatusMissing):
            follower.refresh()
    follower.close()
    assert published == [(signed,)] * 2


@pytest.mark.parametrize("nonsense", [b"\xd2", b"nonsense", bytes(5_000)])
def test_nonsense_in_redis_leaves_the_key_set(
    redis_url: str, key_sets: KeySets, signer: Signer, follower: KeySetFollower, nonsense: bytes
) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW))
    with redis.Redis.from_url(redis_url) as client:
        client.set(KEY_SET_KEY, nonsense)
    with pytest.raises(KeySetError):
        follower.refresh()
    assert key_sets.in_force(NOW).version == 1


def test_a_redis_without_a_key_set_or_with_one_of_another_type_leaves_it(
    redis_url: str, key_sets: KeySets, signer: Signer, follower: KeySetFollower
) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW))
    with pytest.raises(StatusMissing):
        follower.refresh()
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(KEY_SET_KEY, b"x")
    with pytest.raises(redis.ResponseError):
        follower.refresh()
    assert key_sets.in_force(NOW).version == 1


def test_what_is_refused_is_counted_once_and_the_end_of_the_key_set_in_force_is_known(
    key_sets: KeySets, signer: Signer
) -> None:
    assert key_sets.expires_at(NOW) is None
    key_sets.offer(signer.key_set(issued_at=NOW, version=7, valid_s=100))
    for _ in range(2):
        with pytest.raises(KeySetError):
            key_sets.offer(signer.key_set(issued_at=NOW, version=6))
    assert key_sets.refused == 1
    assert key_sets.expires_at(NOW) == key_sets.expires_at(NOW + 1_000) == NOW + 100


def test_a_key_set_that_is_refused_is_refused_each_time(key_sets: KeySets, signer: Signer) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW, version=7))
    older = signer.key_set(issued_at=NOW, version=6)
    for _ in range(2):
        with pytest.raises(KeySetOutdated, match="above 7"):
            key_sets.offer(older)
    forged = Signer("stranger").key_set(issued_at=NOW, version=9)
    for wrong, error in ((forged, KeySetNotTrusted), (older, KeySetOutdated), (b"nonsense", KeySetError)):
        for _ in range(2):
            with pytest.raises(KeySetError) as caught:
                key_sets.offer(wrong)
            assert type(caught.value) is error
    assert key_sets.offer(signer.key_set(issued_at=NOW, version=8))


def test_a_key_set_that_was_over_before_it_came_closes_no_gate_and_is_taken_when_our_clock_was_wrong(
    key_sets: KeySets, signer: Signer
) -> None:
    key_sets.offer(signer.key_set(issued_at=NOW), NOW)
    over = signer.key_set(issued_at=NOW - 200, version=2, valid_s=100)
    for _ in range(2):
        with pytest.raises(KeySetOutdated, match="key set 2 was over before it came"):
            key_sets.offer(over, NOW)
    assert (key_sets.in_force(NOW).version, key_sets.refused) == (1, 1)
    assert key_sets.offer(over, NOW - 150)
