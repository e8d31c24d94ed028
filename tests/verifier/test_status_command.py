"""`gatelight-verifier status`, against a verifier that is well, one whose Redis is killed, and none."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from loadtest.embedded_redis import EmbeddedRedis, free_port
from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.engines.serving import Served, publish, serving
from tests.verifier.status_in_redis import StatusInRedis
from verifier import seen_metrics
from verifier.cli import main
from verifier.wire.status_store import KEY_SET_KEY

_METRICS = f"127.0.0.1:{free_port()}"


def _status(*options: str, metrics: str = _METRICS) -> Result:
    return CliRunner().invoke(main, ["status", "--metrics", metrics, *options])


def _problems() -> dict[str, dict[str, Any]]:
    told = json.loads(_status("--json").output)
    return {problem["part"]: problem for problem in told["problems"]}


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def served(own_redis: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    publish(own_redis.url)
    folder: Path = tmp_path_factory.mktemp("verifier")
    with redis.Redis.from_url(own_redis.url) as client:
        client.set(KEY_SET_KEY, Signer().key_set(issued_at=int(time.time()), valid_s=30 * 86_400))
    with serving("grpcio", own_redis.url, folder, "--metrics-listen", _METRICS) as served:
        yield served


def _beat(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        StatusInRedis(client).rebuild(b"engines")


def test_a_verifier_that_is_well_is_ok(served: Served, own_redis: EmbeddedRedis) -> None:
    _beat(own_redis)
    shown = eventually(lambda: (one := _status()).exit_code == 0 and one)
    assert isinstance(shown, Result)
    lines = shown.output.splitlines()
    assert lines[0].startswith("OK  gatelight-verifier ")
    assert lines[0].endswith(", engine grpcio")
    assert any("key set" in line and "version 1, ends in 30 days" in line for line in lines)
    assert any("workers" in line and "1 of 1 serve" in line for line in lines)
    assert "\x1b" not in shown.output  # no colours where there is no terminal
    assert "!" not in shown.output


def test_what_happens_in_a_second_is_told_once_or_again_and_again(served: Served) -> None:
    for options, count in (((), 1), (("--watch", "2"), 2)):
        shown = _status("--json", *options)
        assert [json.loads(line)["calls"]["per_s"] for line in shown.output.splitlines()] == [0] * count


def test_each_look_of_many_has_its_time_and_a_line_before_the_next(served: Served) -> None:
    lines = _status("--watch", "2").output.splitlines()
    assert len([line for line in lines if re.fullmatch(r"\d\d:\d\d:\d\d", line)]) == 2
    assert len([line for line in lines if re.fullmatch("-+", line)]) == 1


def test_calls_that_fail_between_two_looks_are_wrong() -> None:
    text = "gatelight_verifier_workers_serving 1\ngatelight_verifier_failed_total {}\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply() -> None:
            for failed in (7, 9):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + text.format(failed).encode())

        thread = threading.Thread(target=reply)
        thread.start()
        shown = _status(metrics=f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    assert shown.exit_code == 1
    assert "! 2 calls failed inside the verifier in " in shown.output


def test_a_killed_redis_is_named_with_what_it_means_and_what_to_do(
    served: Served, own_redis: EmbeddedRedis
) -> None:
    own_redis.kill()
    parts = {"key_set", "mirror", "scan_log"}
    eventually(lambda: parts <= _problems().keys())
    assert {_problems()[part]["kind"] for part in parts} == {"redis_unreachable"}
    shown = _status()
    assert shown.exit_code == 1
    assert shown.output.startswith("DEGRADED  ")
    assert shown.output.count("! Redis cannot be reached (refused, reset, no route or no master) for ") == 1
    assert "    mirror       verdicts go on from the mirror, changes of colour do not arrive" in shown.output
    assert shown.output.count("is Redis running where --redis-url says?") == 1
    before = _problems()["mirror"]["since_s"]
    eventually(lambda: _problems()["mirror"]["since_s"] > before)
    own_redis.restart()
    eventually(lambda: _problems()["mirror"]["kind"] == "not_there")  # it came back empty


def test_where_nobody_is_the_exit_code_is_another() -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    shown = _status(metrics=nowhere)
    assert shown.exit_code == 3
    assert f"no answer from a verifier at {nowhere}: nobody listens there" in shown.output
    told = json.loads(_status("--json", metrics=nowhere).output)
    assert (told["state"], told["problems"][0]["kind"]) == ("no_answer", "no_answer")


def test_who_listens_and_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_metrics, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shown = _status(metrics=f"127.0.0.1:{silent.getsockname()[1]}")
    assert shown.exit_code == 3
    assert "nothing comes back" in shown.output


def test_who_answers_header_by_header_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_metrics, "TIMEOUT_S", 0.2)
    told = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not told.wait(0.05):
                    connection.sendall(b"X: y\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        shown = _status(metrics=f"127.0.0.1:{listening.getsockname()[1]}")
        told.set()
        thread.join()
    assert shown.exit_code == 3
    assert "nothing comes back" in shown.output


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nup 1\n",
        b"HTTP/1.0 200 OK\r\n\r\n{{{\n",
        b"SSH-2.0\r\n",
    ],
)
def test_who_is_no_verifier_is_not_taken_for_one(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        shown = _status(metrics=f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    assert shown.exit_code == 3
    assert "what answers there" in shown.output


@pytest.mark.parametrize("metrics", ["", "9464", "host:port"])
def test_an_address_that_is_none_is_wrong_usage(metrics: str) -> None:
    assert _status(metrics=metrics).exit_code == 2


def test_the_address_is_the_one_that_the_verifier_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("GATELIGHT_VERIFIER_METRICS_LISTEN", f"0.0.0.0:{port}")
    shown = CliRunner().invoke(main, ["status"])
    assert f"no answer from a verifier at 127.0.0.1:{port}" in shown.output
