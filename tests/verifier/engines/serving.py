"""A real `gatelight-verifier serve`, on either engine, with a key set, statuses and gates in a real Redis."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.status_in_redis import StatusInRedis
from verifier.envoy.process import is_available
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc
from verifier.wire.gate_list import ListedGate
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack
from verifier.wire.status_store import GATE_LIST_KEY, KEY_SET_KEY

ENGINES = ("grpcio", "envoy")
TIMEOUT_S = 10
SERVICE = "verifier.v1.VerifierService"
GREEN_INDEX, RED_INDEX, YELLOW_INDEX, SUSPENDED_INDEX, REVOKED_INDEX, UNKNOWN_INDEX = 1, 2, 3, 4, 5, 6
_RECORDS = {
    GREEN_INDEX: StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, reason=7, last_negative_test_min=123),
    RED_INDEX: StatusRecord(Colour.RED, CredentialState.ACTIVE, 1, reason=31),
    YELLOW_INDEX: StatusRecord(Colour.YELLOW, CredentialState.ACTIVE, 1),
    SUSPENDED_INDEX: StatusRecord(Colour.GREEN, CredentialState.SUSPENDED, 1),
    REVOKED_INDEX: StatusRecord(Colour.GREEN, CredentialState.REVOKED, 1),
}
# Refusals are to be seen, not tried again; and no test has the connection of another.
CHANNEL_OPTIONS = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))


@dataclass
class Served:
    """A verifier that serves."""

    engine: str
    port: int
    redis_url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    signer: Signer = field(default_factory=Signer)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A channel of its own, in plain text."""
        with grpc.insecure_channel(self.address, options=CHANNEL_OPTIONS) as channel:
            yield channel

    def scan(self, credential_index: int = GREEN_INDEX, scan_id: str = "s1") -> pb.VerifyCodeRequest:
        """A scan of a code that is valid now."""
        qr_text = self.signer.qr_text(not_before=int(time.time()), credential_index=credential_index)
        return pb.VerifyCodeRequest(qr_text=qr_text, scan_id=scan_id, gate_id="north")


def require_engine(engine: str) -> None:
    """Skip where the engine does not run, with the reason."""
    if engine == "envoy":
        reason = is_available()
        if reason is not None:
            pytest.skip(reason)


def publish(redis_url: str, *, gates: Sequence[ListedGate] = ()) -> None:
    """Write what a verifier reads; without gates, no gate list."""
    signer, now = Signer(), int(time.time())
    with redis.Redis.from_url(redis_url) as client:
        client.set(KEY_SET_KEY, signer.key_set(issued_at=now))
        if gates:
            client.set(GATE_LIST_KEY, signer.gate_list(issued_at=now, gates=gates))
        status = StatusInRedis(client)
        status.rebuild(b"engines", {index: pack(record) for index, record in _RECORDS.items()})


@contextlib.contextmanager
def serving(engine: str, redis_url: str, folder: Path, *options: str) -> Iterator[Served]:
    """Run one worker of an engine until the end of the block; it serves when the block begins.

    With TLS among the options, waiting for it to serve is left to the caller's first call.
    """
    require_engine(engine)
    port_file, log = folder / "port", folder / "log"
    (folder / "root.pub").write_bytes(Signer().root_pem)
    command = [
        *(sys.executable, "-m", "verifier", "serve", "--engine", engine, "--workers", "1"),
        *("--listen", "127.0.0.1:0", "--port-file", str(port_file), "--redis-url", redis_url),
        *("--root-key", str(folder / "root.pub"), "--mirror-capacity", "65536"),
        *("--journal", str(folder / "journal"), "--grace-s", "3", *options),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        eventually(lambda: port_file.exists() or process.poll() is not None, timeout_s=TIMEOUT_S)
        assert process.poll() is None, log.read_text()
        served = Served(engine, int(port_file.read_text()), redis_url, process, log)
        if not any(option.startswith("--tls") for option in options):
            with served.channel() as channel:
                eventually(lambda: serves(channel), timeout_s=TIMEOUT_S)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serves(channel: grpc.Channel) -> bool:
    """Tell whether the verifier behind a channel says that it serves."""
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(request, timeout=TIMEOUT_S, wait_for_ready=True)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def stub(channel: grpc.Channel) -> pb_grpc.VerifierServiceStub:
    return pb_grpc.VerifierServiceStub(channel)
