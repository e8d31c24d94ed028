import pytest

from issuer.access.attempts import Attempts, address_of


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock=clock)


def test_ten_are_allowed_at_once_and_the_eleventh_has_to_wait(attempts: Attempts) -> None:
    assert [attempts.take("ipv4:10.0.0.1:5") for _ in range(12)] == [0] * 10 + [6, 6]


@pytest.mark.parametrize(("after_s", "is_allowed"), [(5.9, False), (6.0, True), (6.1, True)])
def test_one_more_is_allowed_every_six_seconds(
    attempts: Attempts, clock: Clock, after_s: float, is_allowed: bool
) -> None:
    for _ in range(10):
        attempts.take("ipv4:10.0.0.1:5")
    clock.now += after_s
    assert (attempts.take("ipv4:10.0.0.1:5") == 0) is is_allowed


def test_after_a_minute_all_ten_are_back_and_no_more(attempts: Attempts, clock: Clock) -> None:
    for wait_s in (60, 3_600):
        for _ in range(11):
            attempts.take("ipv4:10.0.0.1:5")
        clock.now += wait_s
        assert [attempts.take("ipv4:10.0.0.1:5") == 0 for _ in range(11)] == [True] * 10 + [False]
        clock.now += 60


def test_refused_attempts_do_not_prolong_the_wait(attempts: Attempts, clock: Clock) -> None:
    for _ in range(100):
        attempts.take("ipv4:10.0.0.1:5")
    clock.now += 6
    assert attempts.take("ipv4:10.0.0.1:5") == 0


def test_a_clock_that_is_set_back_locks_nobody_out_for_more_than_a_minute(
    attempts: Attempts, clock: Clock
) -> None:
    for _ in range(11):
        attempts.take("ipv4:10.0.0.1:5")
    clock.now -= 86_400
    assert 0 < attempts.take("ipv4:10.0.0.1:5") <= 6
    clock.now += 60
    assert attempts.take("ipv4:10.0.0.1:5") == 0


def test_addresses_do_not_share_a_bucket_and_ports_do(attempts: Attempts) -> None:
    for port in range(10):
        assert attempts.take(f"ipv4:10.0.0.1:{port}") == 0
    assert attempts.take("ipv4:10.0.0.1:99") > 0
    assert attempts.take("ipv4:10.0.0.2:99") == 0


def test_memory_is_bounded_and_forgets_who_failed_longest_ago(attempts: Attempts) -> None:
    for _ in range(11):
        attempts.take("ipv4:10.0.0.1:5")
    for number in range(4_095):
        attempts.take(f"ipv4:11.0.{number // 256}.{number % 256}:5")
    assert attempts.take("ipv4:10.0.0.1:5") > 0
    for number in range(4_096):
        attempts.take(f"ipv4:12.0.{number // 256}.{number % 256}:5")
    assert len(attempts._full_at) == 4_096
    assert attempts.take("ipv4:10.0.0.1:5") == 0


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:5", "10.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:5", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.1]:5", "10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5", "fe80::/64"),
        ("unix:", "unix"),
        ("unix:/run/x.sock", "unix"),
        ("", ""),
        ("ipv4:nonsense", "ipv4"),
    ],
)
def test_what_shares_a_bucket(peer: str, address: str) -> None:
    assert address_of(peer) == address
