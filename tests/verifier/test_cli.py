"""gatelight-verifier as its operators start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
import redis
from click.testing import CliRunner

from loadtest.processes import ServerProcess
from loadtest.stage import wait_until_serving
from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.journal.scans import open_journal, scan
from tests.verifier.status_in_redis import StatusInRedis
from verifier.cli import main
from verifier.config import VerifierSettings
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc
from verifier.wire.status_store import KEY_SET_KEY

_SMALL = ["--engine", "grpcio", "--listen", "127.0.0.1:0", "--mirror-capacity", "16", "--workers", "1"]


@pytest.fixture
def root_key(tmp_path: Path) -> Path:
    path = tmp_path / "root.pub"
    path.write_bytes(Signer().root_pem)
    return path


def start(
    tmp_path: Path, *options: str, environment: Mapping[str, str] | None = None
) -> tuple[ServerProcess, Path]:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "verifier", "serve", "--port-file", str(port_file)]
    command += ["--engine", "grpcio", "--workers", "1", "--journal", str(tmp_path / "journal"), *options]
    return ServerProcess("verifier", command, folder=tmp_path, environment=environment), port_file


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["scan", "--help"], ["--version"]])
def test_help_is_there_on_every_level(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert result.output


def test_every_option_of_serve_is_a_setting_and_the_other_way_round() -> None:
    options = {parameter.name for parameter in main.commands["serve"].params}
    assert options == set(VerifierSettings.model_fields)


@pytest.mark.parametrize("module", ["verifier.main", "verifier.envoy.app"])
def test_a_supervisor_and_an_envoy_worker_know_no_grpc(module: str) -> None:
    script = f"import sys; import {module}; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_gate_starts_without_waiting_for_grpc() -> None:
    script = "import sys; from verifier.cli import main; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "--root-key is missing"),
        (["--root-key", "{root}", "--threads", "0"], "threads"),
        (["--root-key", "{root}", "--redis-url", "http://x"], "redis-url"),
        (["--root-key", "{root}", "--listen", "0.0.0.0:0"], "--insecure"),
        (["--root-key", "{root}", "--listen", "10.0.0.1"], "HOST:PORT"),
        (["--root-key", "{root}", "--listen", "::1:50051"], "HOST:PORT"),
        (["--root-key", "{root}", "--metrics-listen", "9090"], "--metrics-listen"),
        (["--root-key", "{root}", "--tls-certificate", "{root}"], "come together"),
        (["--root-key", "{root}", "--tls-client-ca", "{root}"], "needs --tls-certificate"),
        (["--root-key", "{root}", "--gate-auth", "certificate"], "needs --tls-client-ca"),
        (
            ["--root-key", "{root}", "--tls-certificate", "{root}", "--tls-key", "{root}"],
            "not a certificate",
        ),
        (["--root-key", "{root}", "--config", "/nowhere/verifier.toml"], "cannot read"),
        (["--root-key", "/nowhere/root.pub"], "cannot read"),
        (["--root-key", "{here}"], "not a public key"),
        (
            ["--root-key", "{root}", "--journal", "{here}", *_SMALL],
            f"--journal: cannot write in {__file__}: Not a directory; name another folder",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_ends_with_2(
    root_key: Path, options: list[str], problem: str
) -> None:
    filled = [option.format(root=root_key, here=__file__) for option in options]
    result = CliRunner().invoke(main, ["serve", *filled])
    assert result.exit_code == 2
    assert problem in result.output
    assert "Traceback" not in result.output


def test_a_redis_url_that_cannot_be_read_is_not_repeated(root_key: Path) -> None:
    options = ["--root-key", str(root_key), "--redis-url", "redis://:CANARY#x@127.0.0.1/0"]
    result = CliRunner().invoke(main, ["serve", *options])
    assert result.exit_code == 2
    assert "redis-url" in result.output
    assert "CANARY" not in result.output


def test_a_misspelt_variable_is_named_with_the_nearest_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_VERIFIER_TREADS", "4")
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    assert "GATELIGHT_VERIFIER_THREADS" in result.output


def test_a_verifier_without_redis_answers_unavailable_and_stops_on_sigterm(
    tmp_path: Path, root_key: Path
) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    server, port_file = start(
        tmp_path, "--root-key", str(root_key), "--redis-url", nowhere, "--listen", "127.0.0.1:0"
    )
    with server:
        address = f"127.0.0.1:{server.wait_for_file(port_file)}"
        with grpc.insecure_channel(address) as channel:
            request = pb.VerifyCodeRequest(qr_text=b"x", scan_id="s", gate_id="g")
            call = pb_grpc.VerifierServiceStub(channel).VerifyCode.future(request, timeout=5)
            assert call.code() is grpc.StatusCode.UNAVAILABLE
        assert server.stop() == 0
    assert "verifier stopped" in server.log.read_text()


def test_a_port_file_that_cannot_be_written_ends_it_with_2(tmp_path: Path, root_key: Path) -> None:
    command = [sys.executable, "-m", "verifier", "serve", "--root-key", str(root_key)]
    command += ["--redis-url", "redis://127.0.0.1:1/0", "--listen", "127.0.0.1:0"]
    command += ["--engine", "grpcio", "--workers", "1", "--no-journal"]
    refused = subprocess.run(
        [*command, "--port-file", "/nowhere/port"], capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 2
    assert "/nowhere/port cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_end_that_is_an_error_is_in_good_order_as_well(tmp_path: Path, root_key: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    journal.append(scan(1))
    journal.close()
    command = [sys.executable, "-m", "verifier", "serve", "--root-key", str(root_key), *_SMALL]
    command += ["--redis-url", "redis://127.0.0.1:1/0", "--journal", str(tmp_path / "journal")]
    failed = subprocess.run(
        [*command, "--port-file", "/nowhere/port"], capture_output=True, text=True, timeout=30, check=False
    )
    assert failed.returncode == 2
    assert "scan log is not all shipped: it waits on the disk" in failed.stderr


def test_settings_come_from_the_environment_too_and_ctrl_c_stops_in_good_order(
    tmp_path: Path, root_key: Path
) -> None:
    environment = {
        "GATELIGHT_VERIFIER_ROOT_KEY": str(root_key),
        "GATELIGHT_VERIFIER_LISTEN": "127.0.0.1:0",
        "GATELIGHT_REDIS_URL": "redis://127.0.0.1:1/0",  # not the one that a developer may have running
    }
    server, port_file = start(tmp_path, environment=environment)
    with server:
        assert server.wait_for_file(port_file).isdecimal()
        os.killpg(server.pid, signal.SIGINT)  # a terminal sends it to the whole group
        assert server.wait(10) == 0


def test_a_verifier_serves_once_it_has_status_and_key_set(
    tmp_path: Path, root_key: Path, redis_url: str
) -> None:
    server, port_file = start(
        tmp_path, "--root-key", str(root_key), "--redis-url", redis_url, "--listen", "127.0.0.1:0"
    )
    with server:
        address = f"127.0.0.1:{server.wait_for_file(port_file)}"
        with redis.Redis.from_url(redis_url) as client:
            StatusInRedis(client).rebuild(b"e1", {1: 5})
            client.set(KEY_SET_KEY, Signer().key_set(issued_at=int(time.time())))
        wait_until_serving(address, server)
        assert eventually(lambda: "verifier is serving" in server.log.read_text())
