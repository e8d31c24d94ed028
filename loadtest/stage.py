"""A whole Gatelight on one machine: Redis, issuer and verifier, as real processes on free loopback ports."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from issuer.access.bearer import read_key_file as read_client_key
from issuer.client import IssuerClient
from issuer.folder import Folder
from issuer.key_file import Purpose, read_key_file
from issuer.key_store import KeyStore, SecretKeyStore
from loadtest.embedded_redis import BorrowedRedis, EmbeddedRedis
from loadtest.processes import READY_TIMEOUT_S, ProcessError, ServerProcess
from loadtest.residents import Staff
from verifier.client import NotAdmitted, VerifierClient
from verifier.config import REDIS_URL_VARIABLE
from verifier.servicer import SERVICE_NAME

_PASSPHRASE = "a passphrase for a stage that is torn down again"  # noqa: S105

_LOOK_S = 0.02


class Stage:
    """The running parts. Start it from the main thread (see guard.py)."""

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str | None = None,
        register_url: str = "",
        issuer_options: Sequence[str] = (),
    ) -> None:
        """Start Redis, or take the one at `redis_url`, make an issuer in `folder` and start it.

        `register_url` is that of an empty PostgreSQL database; without it the register is a SQLite file.
        `issuer_options` are further options of `gatelight-issuer serve`. Raises ProcessError.
        """
        self.path = folder
        self._issuer_options = issuer_options
        self._register_url = register_url
        self.issuer_folder = Folder(folder / "issuer")
        self.redis: EmbeddedRedis | BorrowedRedis = (
            BorrowedRedis(redis_url) if redis_url else EmbeddedRedis(folder)
        )
        self.verifiers: list[ServerProcess] = []
        self.issuer: ServerProcess | None = None
        self._archive: ServerProcess | None = None
        try:
            self._initialise()
            self.start_issuer()
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> Mapping[str, str]:
        """What the issuer's command line needs in its environment."""
        return {
            "GATELIGHT_PASSPHRASE": _PASSPHRASE,
            "GATELIGHT_ISSUER_FOLDER": str(self.issuer_folder.path),
            REDIS_URL_VARIABLE: self.redis.url,
            **({"GATELIGHT_ISSUER_REGISTER_URL": self._register_url} if self._register_url else {}),
        }

    @property
    def issuer_address(self) -> str:
        """Where the issuer is asked: the socket in its folder."""
        return f"unix:{self.issuer_folder.socket}"

    def client(self, name: str = "local", *, timeout_s: float = 30.0) -> IssuerClient:
        """Return a client of the issuer: "local", who is operator, clerk and auditor, or "approver"."""
        folder = self.issuer_folder
        key_file = {"local": folder.local_client_key, "approver": folder.approver_client_key}[name]
        return IssuerClient(self.issuer_address, key=read_client_key(key_file), timeout_s=timeout_s)

    @contextmanager
    def staff(self) -> Iterator[Staff]:
        """Give the two persons that the demo and the load scenarios need."""
        with self.client("local") as clerk, self.client("approver") as approver:
            yield Staff(clerk, approver)

    def signing_key(self) -> KeyStore:
        """Return the issuer's signing key, to make codes that the issuer itself would never sign."""
        (path,) = self.issuer_folder.signing_keys.glob("*.key")
        return SecretKeyStore(read_key_file(path, purpose=Purpose.SIGNING, passphrase=_PASSPHRASE.encode()))

    def start_verifier(self, *options: str) -> str:
        """Start a verifier with further options of `serve`, wait until it serves, return its address."""
        name = f"verifier-{len(self.verifiers) + 1}"
        port_file = self.path / f"{name}.port"
        verifier = ServerProcess(
            name,
            [
                *(sys.executable, "-m", "verifier", "serve", "--listen", "127.0.0.1:0"),
                *("--root-key", str(self.issuer_folder.root_public_key)),
                *("--redis-url", self.redis.url, "--port-file", str(port_file)),
                *("--journal", str(self.path / f"{name}.journal"), *options),
            ],
            folder=self.path,
        )
        self.verifiers.append(verifier)
        address = f"127.0.0.1:{verifier.wait_for_file(port_file)}"
        wait_until_serving(address, verifier)
        return address

    def start_archive(self) -> None:
        """Start the archive of scans."""
        command = [sys.executable, "-m", "issuer", "archive"]
        self._archive = ServerProcess("archive", command, folder=self.path, environment=self.environment)

    def close(self) -> None:
        """Stop everything, the last one started first."""
        for verifier in reversed(self.verifiers):
            verifier.stop()
        if self._archive is not None:
            self._archive.stop()
        if self.issuer is not None:
            self.issuer.stop()
        self.redis.stop()

    def _initialise(self) -> None:
        process = ServerProcess(
            "init",
            [sys.executable, "-m", "issuer", "init"],
            folder=self.path,
            environment=self.environment,
        )
        if process.wait(READY_TIMEOUT_S) != 0:
            raise ProcessError(f"gatelight-issuer init failed:\n{process.tail()}")

    def start_issuer(self) -> None:
        """Start the issuer, also after it was killed, and wait until it serves; raises ProcessError."""
        port_file = self.path / "issuer.port"
        port_file.unlink(missing_ok=True)
        self.issuer = ServerProcess(
            "issuer",
            [
                *(sys.executable, "-m", "issuer", "serve", "--listen", "127.0.0.1:0"),
                *("--port-file", str(port_file), *self._issuer_options),
            ],
            folder=self.path,
            environment=self.environment,
        )
        self.issuer.wait_for_file(port_file)


@contextmanager
def stage(
    folder: Path,
    *,
    redis_url: str | None = None,
    register_url: str = "",
    issuer_options: Sequence[str] = (),
) -> Iterator[Stage]:
    """Set up a stage in `folder` and tear it down again."""
    running = Stage(folder, redis_url=redis_url, register_url=register_url, issuer_options=issuer_options)
    try:
        yield running
    finally:
        running.close()


def given_redis_url() -> str | None:
    """Return the Redis that the user wants to be used; None for one of our own."""
    return os.environ.get(REDIS_URL_VARIABLE)


def wait_until_serving(address: str, process: ServerProcess) -> None:
    """Return when the verifier at `address` says SERVING; raises ProcessError."""
    request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            for response in health.Watch(request, timeout=READY_TIMEOUT_S):  # type: ignore[attr-defined]
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        except grpc.RpcError:
            pass  # as when the server ends the call by itself, which it does when it stops
    raise ProcessError(f"{process.name} does not serve:\n{process.tail()}")


def wait_until_admitted(gate: VerifierClient, process: ServerProcess) -> None:
    """Return when a verifier lets a gate in: its list comes within seconds; raises ProcessError."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(NotAdmitted):
            gate.verify(b"is anybody there")
            return
        time.sleep(_LOOK_S)
    raise ProcessError(f"{process.name} does not know our gate:\n{process.tail()}")
