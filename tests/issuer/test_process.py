"""gatelight-issuer as real processes."""

import contextlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from issuer.access.bearer import read_key_file
from issuer.client import IssuerClient
from issuer.folder import Folder
from issuer.initialise import initialise
from issuer.register.database import Database
from issuer.register.records import read_shard
from issuer.v1 import admin_pb2 as pb
from issuer.v1 import issuer_pb2
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.processes import ServerProcess
from tests.eventually import eventually
from tests.issuer.stored_status import StoredStatus

PASSPHRASE = "CANARY-passphrase"
COMMAND = (sys.executable, "-m", "issuer")


class Issuer:
    """An issuer whose `serve` can be started again and again."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self._log_folder = folder.parent
        self.environment = {
            "GATELIGHT_PASSPHRASE": PASSPHRASE,
            "GATELIGHT_ISSUER_FOLDER": str(folder),
            "GATELIGHT_REDIS_URL": redis_url,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def serve(self) -> None:
        port_file = self._log_folder / "issuer.port"
        port_file.unlink(missing_ok=True)
        self.process = ServerProcess(
            "issuer",
            [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--port-file", str(port_file)],
            folder=self._log_folder,
            environment=self.environment,
        )
        self.address = f"127.0.0.1:{self.process.wait_for_file(port_file)}"

    def client(self) -> IssuerClient:
        key = read_key_file(Folder(self.folder).local_client_key)
        return IssuerClient(self.address, key=key)

    @property
    def log(self) -> str:
        return self.process.log.read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an issuer, made with the cheapest key files."""
    monkeypatch.setattr("issuer.key_file._N", 1 << 14)
    initialise(Folder(tmp_path / "issuer"), passphrase=PASSPHRASE.encode(), now=int(time.time()))
    return tmp_path / "issuer"


@pytest.fixture
def issuer(folder: Path, own_redis: EmbeddedRedis) -> Iterator[Issuer]:
    """An issuer that serves."""
    issuer = Issuer(folder, own_redis.url)
    issuer.serve()
    yield issuer
    issuer.process.stop()


def enrol_and_issue(client: IssuerClient, first: int, count: int) -> None:
    holders = [
        pb.NewHolder(name="CANARY-name", document_type="ID", document_number=f"CANARY-{number}")
        for number in range(first, first + count)
    ]
    ids = client.admin.EnrolHolders(pb.EnrolHoldersRequest(holders=holders)).holder_ids
    new = [pb.NewCredential(holder_id=holder_id, kind=1) for holder_id in ids]  # type: ignore[arg-type]
    client.admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=new))


def enrol_until_it_dies(client: IssuerClient, first: int) -> None:
    for number in itertools.count(first, 20):
        enrol_and_issue(client, number, 20)


def test_from_init_to_a_code_by_the_command_line_alone(tmp_path: Path, own_redis: EmbeddedRedis) -> None:
    issuer = Issuer(tmp_path / "issuer", own_redis.url)
    assert issuer.run("init").returncode == 0
    issuer.serve()
    add = ("--name", "王小秀", "--document-type", "ID", "--document-number", "E12345678", "--apply")
    assert json.loads(issuer.run("holder", "add", *add, "--json").stdout)["holder_id"] == 1
    issued = json.loads(issuer.run("credential", "issue", "1", "PHONE", "--apply", "--json").stdout)
    assert issued == {"applied": True, "credential_index": 1, "publication": "PUBLISHED"}
    saved = issuer.run("code", "save", "1", str(tmp_path / "code.png"), "--json")
    assert json.loads(saved.stdout)["symbol"] == "7-M"
    shown = json.loads(issuer.run("key-set", "show", "--json").stdout)
    assert shown["expires_at"] - shown["issued_at"] == 30 * 86_400
    assert issuer.process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(issuer: Issuer, number: int) -> None:
    os.kill(issuer.process.pid, number)
    eventually(lambda: not issuer.process.is_running())
    assert issuer.process.stop() == 0
    events = [json.loads(line)["event"] for line in issuer.log.splitlines()]
    assert "issuer drains" in events
    assert events[-1] == "issuer stopped"


def test_an_issuer_killed_at_any_instant_goes_on_where_it_was(
    issuer: Issuer, own_redis: EmbeddedRedis
) -> None:
    """Killed in the middle of changes; then what Redis holds is what the register holds."""
    for round_number in range(3):
        with issuer.client() as client:
            killer = threading.Timer(0.1 * (1 + round_number), issuer.process.kill)
            killer.start()
            with pytest.raises(grpc.RpcError):
                enrol_until_it_dies(client, 1_000_000 * round_number)
            killer.join()
        issuer.serve()
    database = Database.open(issuer.folder / "register.db")
    with database.read() as connection:
        content = read_shard(connection, 0).content
    database.close()
    truth = {index: record for index, record in enumerate(memoryview(content).cast("Q")) if record}
    assert truth
    with redis.Redis.from_url(own_redis.url) as stored:
        eventually(lambda: StoredStatus(stored).records() == truth)


def test_a_second_issuer_on_the_same_folder_is_refused(issuer: Issuer) -> None:
    second = issuer.run("serve", "--listen", "127.0.0.1:0")
    assert second.returncode == 1
    assert "another process serves" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_second_issuer_on_the_same_port_is_refused(folder: Path) -> None:
    issuer = Issuer(folder, "redis://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = issuer.run("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert refused.returncode == 2
    assert "Address already in use" in refused.stderr
    assert "choose another" in refused.stderr
    assert "add_port.cc" not in refused.stderr


def test_a_port_file_that_cannot_be_written_ends_it(folder: Path) -> None:
    issuer = Issuer(folder, "redis://127.0.0.1:1")
    refused = issuer.run("serve", "--listen", "127.0.0.1:0", "--port-file", "/nowhere/port")
    assert refused.returncode == 2
    assert "port_file: /nowhere/port cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_passphrase_is_refused(folder: Path) -> None:
    issuer = Issuer(folder, "redis://127.0.0.1:1")
    issuer.environment["GATELIGHT_PASSPHRASE"] = "CANARY-wrong"
    refused = issuer.run("serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "wrong passphrase" in refused.stderr
    assert "CANARY" not in refused.stderr


def test_the_log_is_json_and_holds_no_secret(issuer: Issuer, own_redis: EmbeddedRedis) -> None:
    with issuer.client() as client:
        enrol_and_issue(client, 0, 1)
        own_redis.kill()
        enrol_and_issue(client, 1, 1)
        own_redis.restart()
        eventually(lambda: "publishing again" in issuer.log)
        with pytest.raises(grpc.RpcError):
            enrol_and_issue(client, 0, 1)
        code = client.issuer.IssueBundle(issuer_pb2.IssueBundleRequest(credential_index=1)).codes[0]
    issuer.process.stop()
    for line in issuer.log.splitlines():
        assert {"event", "level", "timestamp", "service", "release", "pid"} <= set(json.loads(line))
    for secret in ("CANARY", PASSPHRASE, code.qr_text[:20]):
        assert secret not in issuer.log


def test_prometheus_is_answered_where_it_was_asked_for(folder: Path, own_redis: EmbeddedRedis) -> None:
    issuer = Issuer(folder, own_redis.url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    issuer.environment["GATELIGHT_ISSUER_METRICS_LISTEN"] = f"127.0.0.1:{port}"
    issuer.serve()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert issuer.process.stop() == 0
    life_left = next(line for line in text.splitlines() if line.startswith("gatelight_issuer_key_set_life"))
    assert 0.9 < float(life_left.split()[-1]) <= 1


def test_a_register_that_is_not_current_is_not_served(folder: Path, own_redis: EmbeddedRedis) -> None:
    with contextlib.closing(sqlite3.connect(folder / "register.db")) as register, register:
        register.execute("UPDATE alembic_version SET version_num = '0001'")
    refused = Issuer(folder, own_redis.url).run("serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "gatelight-issuer register migrate" in refused.stderr
