"""A worker of either engine without a supervisor's process, with limits that `serve` has no option for."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.engines.serving import CHANNEL_OPTIONS, require_engine
from verifier.envoy.process import EnvoyEngine
from verifier.host.engine import Engine, GrpcioEngine, Process
from verifier.host.following import Following
from verifier.host.port import hold_port
from verifier.host.rows import Phase, Row
from verifier.host.run_folder import run_folder
from verifier.host.shared import SharedMemory
from verifier.host.worker_config import GateAuth, TlsFiles, WorkerConfig
from verifier.limits import Limits
from verifier.verdict import Policy


@dataclass
class OneWorker:
    """A worker that serves."""

    port: int
    engine: Engine
    process: Process
    config: WorkerConfig
    row: Row

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(self.address, options=CHANNEL_OPTIONS) as channel:
            yield channel

    def drain(self) -> None:
        """Ask it to finish, as a supervisor does."""
        self.row.ask_to_drain()
        self.engine.drain(self.process, self.config)


@contextlib.contextmanager
def one_worker(
    name: str,
    redis_url: str,
    *,
    limits: Limits | None = None,
    grace_s: float = 5,
    gate_auth: GateAuth = GateAuth.NONE,
    tls: TlsFiles | None = None,
    cors_origins: tuple[str, ...] = (),
) -> Iterator[OneWorker]:
    """Run a worker of an engine until the end of the block; it serves when the block begins."""
    require_engine(name)
    engine: Engine = EnvoyEngine() if name == "envoy" else GrpcioEngine()
    root = Signer().root
    port = hold_port("127.0.0.1:0")
    shared = SharedMemory.create(partitions=1, capacity=65_536, rows=1)
    reading, writing = os.pipe()
    with contextlib.closing(port.held), run_folder() as folder:
        following = Following(shared, root=root, redis_url=redis_url, journal=None)
        following.start()
        config = WorkerConfig(
            number=0,
            host=port.host,
            port=port.port,
            root_public_key=root.public_key,
            redis_url=redis_url,
            max_workers=1,
            policy=Policy(),
            gate_auth=gate_auth,
            tls=tls,
            journal=None,
            journal_limit_bytes=1 << 20,
            limits=limits or Limits(),
            has_reflection=True,
            grace_s=grace_s,
            run_folder=Path(folder),
            shared_fd=shared.descriptor,
            life_fd=reading,
            cors_origins=cors_origins,
        )
        worker = OneWorker(port.port, engine, engine.spawn(config), config, shared.rows[0])
        try:
            eventually(lambda: worker.row.phase is Phase.SERVING)
            yield worker
        finally:
            os.close(writing)  # the supervisor is gone, so the worker goes
            eventually(lambda: worker.process.poll() is not None)
            os.close(reading)
            following.finish()
