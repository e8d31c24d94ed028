"""Clients that are not Python's grpcio, against the Envoy engine: buf curl, Node's grpc-js, and a browser."""

import base64
import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.signer import Signer
from tests.verifier.engines.one_worker import OneWorker, one_worker
from verifier.v1 import verifier_pb2 as pb

ROOT = Path(__file__).parents[3]
CLIENTS = Path(__file__).parent / "clients"
NODE_MODULES = ROOT / "build" / "node"
PACKAGES = ("@grpc/grpc-js@1.14.4", "@grpc/proto-loader@0.8.0")
TIMEOUT_S = 30


class Pages(SimpleHTTPRequestHandler):
    """Serves the page, and says nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """The origin of a page that calls."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, directory=str(CLIENTS)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def envoy(
    published_redis_url: str, pages: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneWorker]:
    with one_worker("envoy", published_redis_url, cors_origins=(pages,)) as worker:
        yield worker


def scan() -> pb.VerifyCodeRequest:
    qr_text = Signer().qr_text(not_before=int(time.time()))
    return pb.VerifyCodeRequest(qr_text=qr_text, scan_id="c1", gate_id="north")


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("schema", [("--schema", str(ROOT / "protos")), ()], ids=["schema", "reflection"])
def test_buf_curl_gets_a_verdict(envoy: OneWorker, schema: tuple[str, ...]) -> None:
    buf = shutil.which("buf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if buf is None:
        pytest.skip("buf is not installed")
    asked = scan()
    request = {"qrText": base64.b64encode(asked.qr_text).decode(), "scanId": "b1", "gateId": "north"}
    url = f"http://{envoy.address}/verifier.v1.VerifierService/VerifyCode"
    prior = ("--protocol", "grpc", "--http2-prior-knowledge")
    answer = json.loads(run(buf, "curl", *prior, *schema, "--data", json.dumps(request), url))
    assert (answer["scanId"], answer["verdict"]) == ("b1", "VERDICT_GREEN")


def test_grpc_js_gets_verdicts_and_errors(envoy: OneWorker) -> None:
    modules = _node_modules()
    qr_text = base64.b64encode(scan().qr_text).decode()
    script = str(CLIENTS / "scan.mjs")
    verdicts, refusal = run(
        "node", script, str(modules), str(ROOT / "protos"), envoy.address, qr_text
    ).splitlines()
    assert json.loads(verdicts) == ["VERDICT_GREEN", "VERDICT_GREEN"]
    assert json.loads(refusal) == [3, "scan_id: expected 1 to 64 characters"]


def _node_modules() -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    if not (NODE_MODULES / "node_modules" / "@grpc" / "proto-loader").is_dir():
        NODE_MODULES.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--silent", "--no-save", "--no-audit", "--no-fund", *PACKAGES]
        try:
            subprocess.run(install, cwd=NODE_MODULES, check=True, capture_output=True, timeout=TIMEOUT_S)
        except (subprocess.SubprocessError, OSError):
            pytest.skip("grpc-js could not be installed from npm")
    return NODE_MODULES


def _in_chromium(url: str, profile: Path) -> str:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    waiting = ("--virtual-time-budget=5000", f"--user-data-dir={profile}")
    page = run(chromium, *options, *waiting, "--dump-dom", url)
    found = re.search(r'<p id="verdict">(.*?)</p>', page)
    assert found is not None
    return found[1]


def test_a_page_in_a_browser_gets_a_verdict_by_grpc_web_from_an_origin_that_may(
    envoy: OneWorker, pages: str, tmp_path: Path
) -> None:
    body = base64.b64encode(framed(scan().SerializeToString())).decode()
    shown = _in_chromium(f"{pages}/scan.html#{envoy.port},{body}", tmp_path / "profile")
    assert shown.startswith("answer:")
    answer = base64.b64decode(shown.removeprefix("answer:"))
    length = int.from_bytes(answer[1:5], "big")
    assert pb.VerifyCodeResponse.FromString(answer[5 : 5 + length]).verdict == pb.VERDICT_GREEN
    assert b"grpc-status:0" in answer[5 + length :].replace(b" ", b"")


def test_a_browser_is_told_which_origins_may_call(envoy: OneWorker, pages: str) -> None:
    for origin, allowed in ((pages, pages), ("http://elsewhere.example", None)):
        connection = http.client.HTTPConnection(envoy.address, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            asked = {"origin": origin, "access-control-request-method": "POST"}
            connection.request("OPTIONS", "/verifier.v1.VerifierService/VerifyCode", headers=asked)
            answer = connection.getresponse()
            assert answer.getheader("access-control-allow-origin") == allowed


def test_a_call_by_grpc_web_in_text_over_http_1_is_answered(envoy: OneWorker) -> None:
    connection = http.client.HTTPConnection(envoy.address, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request(
            "POST",
            "/verifier.v1.VerifierService/VerifyCode",
            body=base64.b64encode(framed(scan().SerializeToString())),
            headers=dict.fromkeys(("content-type", "accept"), "application/grpc-web-text"),
        )
        answer = base64.b64decode(connection.getresponse().read()[:40])
    assert answer[0] == 0
    assert b"c1" in answer
