"""A journal that is of no use is told of before the first scan, and at the end only what is true."""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.journal.scans import open_journal, scan
from tests.verifier.status_in_redis import StatusInRedis
from verifier.boot_clock import boot_time_s
from verifier.errors import SettingsError
from verifier.host.following import Following
from verifier.host.kept_state import KeptState
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedPartition
from verifier.journal.shipper import Shipper
from verifier.trouble import WELL, Part, Trouble
from verifier.wire.cose import key_id
from verifier.wire.status_store import GATE_LIST_KEY, KEY_SET_KEY, feed_key

_NOWHERE = "redis://127.0.0.1:1/0"


def _following(journal: Path) -> Following:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    return Following(shared, root=Signer().root, redis_url=_NOWHERE, journal=journal)


def _keeping(state: Path, journal: Path | None = None, *, is_asked_for: bool = False) -> Following:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    return Following(
        shared,
        root=Signer().root,
        redis_url=_NOWHERE,
        journal=journal,
        state=state,
        state_max_age_s=60.0,
        is_state_asked_for=is_asked_for,
    )


@contextlib.contextmanager
def _another_verifier(journal: Path) -> Iterator[None]:
    shipper = Shipper(journal, redis_url=_NOWHERE)
    assert shipper.take_folder()
    yield
    shipper.close()


def test_a_journal_is_for_its_owner_alone_and_nothing_of_the_trial_stays(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    following = _following(folder)
    following.start()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {"journal.id", "shipper.lock"}
    following.finish()


@pytest.mark.parametrize("place", ["file", "file/journal", "/proc/nope"])
def test_a_journal_that_cannot_be_written_is_named_before_the_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SettingsError, match=r"--journal: cannot write in .*: .*; name another folder, or say"
    ):
        _following(tmp_path / place).start()


def test_a_full_disk_stops_no_verdict_at_the_start_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("verifier.host.following.try_to_write", fail)
    following = _following(tmp_path)
    with capture_logs() as logs:
        following.start()
    assert logs[0]["event"] == "scan log cannot be written, verdicts go on"
    following.finish()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_journal_that_may_only_be_read_is_none(tmp_path: Path) -> None:
    with _another_verifier(tmp_path):
        pass  # it has left its files
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="Permission denied"):
        _following(tmp_path).start()


def test_two_verifiers_do_not_share_a_journal(tmp_path: Path) -> None:
    with _another_verifier(tmp_path), pytest.raises(SettingsError, match="is in use by another verifier"):
        _following(tmp_path).start()
    following = _following(tmp_path)
    following.start()
    following.finish()


@pytest.mark.parametrize("has_scans", [True, False])
def test_what_waits_on_the_disk_is_told_of_if_there_is_any(tmp_path: Path, has_scans: bool) -> None:
    following = _following(tmp_path)
    following.start()
    if has_scans:
        journal = open_journal(tmp_path)
        journal.append(scan(1))
        journal.close()
    with capture_logs() as logs:
        following.finish()
    told = [log["folder"] for log in logs if "waits on the disk" in log["event"]]
    assert told == [str(tmp_path)] * has_scans


def test_nothing_is_said_to_wait_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    following = _following(folder)
    following.start()
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("no folder")
    (tmp_path / "elsewhere" / "shipper.lock").unlink()
    with capture_logs() as logs:
        following.finish()
    assert not [log for log in logs if "waits on the disk" in log["event"]]
    (error,) = [log for log in logs if log["event"].startswith("scan log is not shipped")]
    assert str(folder) in error["trouble"]


def test_a_state_folder_that_cannot_be_used_stops_the_start_where_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"--state: cannot write in .*: .*; name another folder, or say"):
        _keeping(tmp_path / "file", is_asked_for=True).start()
    following = _keeping(tmp_path / "file")
    with capture_logs() as logs:
        following.start()
    assert logs[0]["event"] == "state cannot be kept on the disk"
    eventually(lambda: following.health()[Part.KEPT_STATE][0].trouble is Trouble.DISK)
    _end(following)


def test_a_full_disk_keeps_no_verifier_from_its_start_that_was_asked_for_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_state: KeptState) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(KeptState, "make_folder", fail)
    following = _keeping(tmp_path, is_asked_for=True)
    with capture_logs() as logs:
        following.start()
    assert logs[0]["event"] == "state cannot be kept on the disk"
    _end(following)


def test_a_mirror_from_the_disk_is_dropped_when_the_clock_turns_out_to_have_been_slow(tmp_path: Path) -> None:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    partition = SharedPartition(shared, 0, monotonic=time.monotonic)
    partition.swap_in(partition.new_table(), boot_time_s())
    state = KeptState(tmp_path, shared, root_key_id=key_id(Signer().root.public_key))
    state.make_folder()
    state.save_mirror()
    following = _keeping(tmp_path)
    following.start()
    assert following._shared.generations[0] == 1
    keeper = following._clock_keeper
    keeper._follow(following._shared.clock_lead[0] + 3_600, boot_time_s(), is_leap=True)
    eventually(lambda: following._shared.generations[0] == 0)
    _end(following)


def test_a_disk_that_hangs_at_the_end_holds_up_neither_the_scan_log_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.host.following._LAST_SAVE_S", 0.05)
    is_mended, told = threading.Event(), []
    ship = Shipper.close

    def close(shipper: Shipper) -> None:
        told.append("shipped")
        ship(shipper)

    def hang(_state: KeptState) -> None:
        told.append("keeping")
        is_mended.wait()

    monkeypatch.setattr(Shipper, "close", close)
    monkeypatch.setattr(KeptState, "save", hang)
    following = _keeping(tmp_path / "state", tmp_path / "journal")
    following.start()
    with capture_logs() as logs:
        following.finish()
    eventually(lambda: told == ["shipped", "keeping"])
    assert [log["event"] for log in logs if "too long" in log["event"]] == [
        "state is not kept at the end: the disk takes too long"
    ]
    is_mended.set()


def test_shipping_that_hangs_at_the_end_holds_up_neither_the_end_nor_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.host.following._LAST_SHIP_S", 0.05)
    is_mended, shipping, saved = threading.Event(), [], []

    def hang(_shipper: Shipper) -> None:
        shipping.append(threading.current_thread().name)
        is_mended.wait()

    monkeypatch.setattr(Shipper, "step", hang)
    monkeypatch.setattr(KeptState, "save", lambda _: saved.append(True))
    following = _keeping(tmp_path / "state", tmp_path / "journal")
    following.start()
    eventually(lambda: shipping)
    with capture_logs() as logs:
        following.finish()
    assert [log["folder"] for log in logs if "waits on the disk" in log["event"]] == [
        str(tmp_path / "journal")
    ]
    assert shipping == [Part.SCAN_LOG]  # never two of them
    assert saved
    is_mended.set()


def test_a_disk_that_hangs_at_the_start_is_told_of_and_holds_up_no_verifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.host.following._LONGEST_READ_S", 0.05)
    hanging = tmp_path / "gate-list"
    os.mkfifo(hanging)  # whoever opens it to read waits
    following = _keeping(tmp_path, is_asked_for=True)
    with capture_logs() as logs:
        following.start()
    assert logs[0]["event"] == "no state from the disk: the disk takes too long"
    # All that hangs is the thread that reads.
    eventually(lambda: following.health()[Part.MIRROR][0].trouble is Trouble.REDIS_UNREACHABLE)
    os.close(os.open(hanging, os.O_WRONLY))
    _end(following)


def _end(following: Following) -> None:
    """Let the loops end, which in a verifier end with the process, and close what they have open."""
    for loop in following._loops:
        loop._stopping.set()
        loop.wake()
    for loop in following._loops:
        loop.stop()
        with contextlib.suppress(AttributeError):  # the clock's has nothing open
            loop._step.__self__.close()  # type: ignore[attr-defined]
    for _, follower in following._mirrors:
        follower._reader.close()


def test_a_gate_list_is_taken_as_soon_as_its_signer_is_known(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.host.following.KEY_SET_REFRESH_S", 0.01)
    monkeypatch.setattr("verifier.host.following.GATE_LIST_REFRESH_S", 60.0)
    signer, now = Signer(), int(time.time())
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    following = Following(shared, root=signer.root, redis_url=redis_url, journal=None)
    looking = following._gate_list_looking
    following.start()
    eventually(lambda: looking.step_s is not None)  # it has looked, and knew no signer
    with redis.Redis.from_url(redis_url) as client:
        client.set(GATE_LIST_KEY, signer.gate_list(issued_at=now))
        client.set(KEY_SET_KEY, signer.key_set(issued_at=now))
    eventually(lambda: shared.gate_list.version == 1, timeout_s=5)
    _end(following)


def test_what_lies_in_an_empty_redis_is_trouble_with_key_set_and_mirror(redis_url: str) -> None:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    following = Following(shared, root=Signer().root, redis_url=redis_url, journal=None)
    following.start()
    for part in (Part.KEY_SET, Part.MIRROR):
        eventually(lambda part=part: following.health()[part][0].trouble is Trouble.NOT_THERE)  # type: ignore[misc]
    assert following.health()[Part.GATE_LIST] == [WELL]  # gates show nothing, so there need be none
    assert Part.SCAN_LOG not in following.health()
    gauges = {gauge.name: gauge.read() for gauge in following.gauges() if gauge.name != "status_age_seconds"}
    assert gauges["key_set_left_seconds"] is None
    assert gauges["feed_lag_seconds"] == gauges["mirror_loads"] == 0
    _end(following)


def test_until_when_a_key_set_of_tomorrow_keeps_all_gates_closed_is_told(redis_url: str) -> None:
    signer, now = Signer(), int(time.time())
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    following = Following(shared, root=signer.root, redis_url=redis_url, journal=None)
    (starts_in,) = (gauge for gauge in following.gauges() if gauge.name == "key_set_starts_in_seconds")
    assert starts_in.read() is None
    with redis.Redis.from_url(redis_url) as client:
        client.set(KEY_SET_KEY, signer.key_set(issued_at=now + 7_200))
        following.start()
        eventually(lambda: 3_600 < (starts_in.read() or 0.0) <= 7_200)
        assert following.health()[Part.KEY_SET] == [WELL]  # it is signed, and the newest
        client.set(KEY_SET_KEY, signer.key_set(issued_at=now, version=2))
    eventually(lambda: starts_in.read() == 0.0)
    _end(following)


def test_a_stranger_in_the_feed_is_trouble_long_enough_to_be_seen(redis_url: str) -> None:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    following = Following(shared, root=Signer().root, redis_url=redis_url, journal=None)
    with redis.Redis.from_url(redis_url) as client:
        StatusInRedis(client).rebuild(b"e1", {1: 5})
        following.start()
        eventually(lambda: following.health()[Part.MIRROR] == [WELL] and shared.generations[0])
        client.xadd(feed_key(0), {"e": b"stranger", "u": b"\x01\0\0\0" + b"\x05" * 8})
        eventually(lambda: following.health()[Part.MIRROR] != [WELL])
    (health,) = following.health()[Part.MIRROR]
    assert health.trouble is Trouble.NOT_STATUS
    _end(following)
