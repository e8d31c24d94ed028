"""A worker takes what the supervisor publishes, tells health, and answers: here without an engine."""

import dataclasses
import time
from pathlib import Path

import pytest

from tests.signer import Signer
from verifier.access.callers import Credentials
from verifier.boot_clock import boot_time_s
from verifier.call_error import CallError, Status
from verifier.counters import Counter
from verifier.host.documents import Document, document_bytes
from verifier.host.key_set_document import pack
from verifier.host.rows import Phase
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedPartition
from verifier.host.worker import Worker, _Watched
from verifier.host.worker_config import GateAuth, WorkerConfig
from verifier.limits import Limits
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Policy
from verifier.wire.status_record import Colour, CredentialState, StatusRecord
from verifier.wire.status_record import pack as pack_record


class Supervised:
    """Shared memory as a supervisor has it, and one worker."""

    def __init__(self, folder: Path) -> None:
        self.signer = Signer()
        self.shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
        self.config = WorkerConfig(
            number=1,
            host="127.0.0.1",
            port=1,
            root_public_key=self.signer.root.public_key,
            redis_url="redis://127.0.0.1:1/0",
            max_workers=2,
            policy=Policy(),
            gate_auth=GateAuth.NONE,
            tls=None,
            journal=folder / "journal",
            journal_limit_bytes=1 << 30,
            limits=Limits(),
            has_reflection=False,
            grace_s=5.0,
            run_folder=folder,
            shared_fd=self.shared.descriptor,
            life_fd=-1,
        )
        self.health: list[bool] = []

    def worker(self) -> Worker:
        return Worker(self.config, set_serving=self.health.append)

    def phase(self) -> Phase:
        return self.shared.rows[1].phase

    def publish(self) -> None:
        """Publish a key set and an empty mirror."""
        now = int(time.time())
        self.shared.key_sets.write(pack([self.signer.key_set(issued_at=now)]))
        partition = SharedPartition(self.shared, 0, monotonic=time.monotonic)
        table = partition.new_table()
        table.apply([(1, pack_record(StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1)))])
        partition.swap_in(table, boot_time_s())


@pytest.fixture
def supervised(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path)


def _verify(worker: Worker) -> pb.VerifyCodeResponse:
    request = pb.VerifyCodeRequest(qr_text=b"a parking ticket", scan_id="s", gate_id="north")
    return worker.calls.verify_code(request, worker.calls.identify(Credentials()))


def test_a_configuration_travels_as_text(supervised: Supervised) -> None:
    config = dataclasses.replace(supervised.config, cors_origins=("https://gate.example",))
    assert WorkerConfig.from_json(config.to_json()) == config


def test_a_worker_serves_once_key_set_and_mirror_are_published(supervised: Supervised) -> None:
    worker = supervised.worker()
    assert supervised.phase() is Phase.STARTING
    worker.tick()
    assert supervised.phase() is Phase.NOT_SERVING
    with pytest.raises(CallError) as raised:
        _verify(worker)
    assert raised.value.status is Status.UNAVAILABLE
    supervised.publish()
    worker.tick()
    assert supervised.phase() is Phase.SERVING
    assert supervised.health == [False, True]
    assert _verify(worker).verdict == pb.VERDICT_MALFORMED
    worker.close()


def test_a_worker_that_starts_late_answers_before_its_first_tick(supervised: Supervised) -> None:
    supervised.publish()
    worker = supervised.worker()
    assert _verify(worker).verdict == pb.VERDICT_MALFORMED
    worker.close()


def test_a_worker_that_was_prepared_tells_health_and_nothing_to_the_supervisor(
    supervised: Supervised,
) -> None:
    worker = supervised.worker()
    supervised.publish()  # after the worker was made, before it listens
    worker.prepare()
    assert (supervised.health, supervised.phase()) == ([True], Phase.STARTING)
    assert _verify(worker).verdict == pb.VERDICT_MALFORMED
    worker.tick()
    assert supervised.phase() is Phase.SERVING
    worker.close()


def test_a_worker_counts_and_beats_in_its_own_row(supervised: Supervised) -> None:
    supervised.publish()
    worker = supervised.worker()
    _verify(worker)
    worker.tick()
    mine, other = supervised.shared.rows[1], supervised.shared.rows[0]
    assert mine.counters.get(Counter.CALLS) == 1
    assert mine.heartbeat_s <= time.monotonic()
    assert mine.heartbeat_s > 0
    assert other.counters.get(Counter.CALLS) == 0
    worker.close()


def test_a_worker_hears_that_it_is_to_drain_and_says_so_until_it_ends(supervised: Supervised) -> None:
    supervised.publish()
    worker = supervised.worker()
    worker.tick()
    assert not worker.is_to_drain
    supervised.shared.rows[1].ask_to_drain()
    assert worker.is_to_drain
    worker.drain()
    worker.tick()
    assert supervised.phase() is Phase.DRAINING
    worker.close()


def test_nonsense_that_was_published_stops_no_tick(supervised: Supervised) -> None:
    supervised.publish()
    worker = supervised.worker()
    supervised.shared.gate_list.write(b"nonsense")
    supervised.shared.key_sets.write(pack([b"nonsense"]))
    worker.tick()
    assert supervised.phase() is Phase.SERVING
    worker.close()


def test_a_worker_that_asks_for_credentials_does_not_serve_without_a_gate_list(
    supervised: Supervised,
) -> None:
    supervised.config = dataclasses.replace(supervised.config, gate_auth=GateAuth.KEY)
    supervised.publish()
    worker = supervised.worker()
    worker.tick()
    assert supervised.phase() is Phase.NOT_SERVING
    worker.close()


def test_status_grows_old_while_the_machine_is_suspended(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised.publish()
    worker = supervised.worker()
    real = time.clock_gettime
    # time.monotonic() stands still meanwhile.
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 3_600)
    qr_text = supervised.signer.qr_text(not_before=int(time.time()), credential_index=1)
    request = pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id="north")
    answer = worker.calls.verify_code(request, worker.calls.identify(Credentials()))
    assert answer.status_age_ms >= 3_600_000
    worker.close()


def test_what_could_not_be_taken_for_a_moment_is_taken_later() -> None:
    document = Document(memoryview(bytearray(document_bytes(100))))
    failures: list[Exception] = [MemoryError(), MemoryError()]
    taken: list[bytes] = []

    def take(content: bytes) -> None:
        if failures:
            raise failures.pop()
        taken.append(content)

    watched = _Watched(document, take, "key set")
    document.write(b"a key set without the stolen key")
    for _ in range(30):
        watched.look()
    assert taken == [b"a key set without the stolen key"]


def test_what_is_published_after_a_failure_is_taken_at_once() -> None:
    document = Document(memoryview(bytearray(document_bytes(100))))
    taken: list[bytes] = []

    def take(content: bytes) -> None:
        if content == b"nonsense":
            raise ValueError
        taken.append(content)

    watched = _Watched(document, take, "gate list")
    for content in (b"nonsense", b"a gate list"):
        document.write(content)
        watched.look()
    assert taken == [b"a gate list"]
