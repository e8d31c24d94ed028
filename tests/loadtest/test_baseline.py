"""The naive verifier gives the verdicts that ours would give."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from loadtest.baseline.service import status_key
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.processes import ServerProcess
from tests.signer import Signer
from verifier.client import NoAnswer, VerifierClient
from verifier.v1 import verifier_pb2 as pb
from verifier.v1.verifier_pb2_grpc import VerifierServiceStub
from verifier.verdict import Verdict

SIGNER = Signer()
STATUSES = {1: "GREEN 1", 2: "YELLOW 1", 3: "RED 1", 4: "GREEN 2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baseline")


@pytest.fixture(scope="module")
def status(folder: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(folder) as server:
        with redis.Redis.from_url(server.url) as client:
            client.mset({status_key(index): text for index, text in STATUSES.items()})
        yield server


@pytest.fixture(scope="module")
def address(folder: Path, status: EmbeddedRedis) -> Iterator[str]:
    port_file = folder / "port"
    command = [sys.executable, "-m", "loadtest.baseline", str(port_file), "--redis-url", status.url]
    command += ["--public-key", SIGNER.key.public_key.hex()]
    with ServerProcess("baseline", command, folder=folder) as server:
        yield f"127.0.0.1:{server.wait_for_file(port_file)}"


def scans() -> list[tuple[bytes, Verdict]]:
    now = int(time.time())
    good = SIGNER.qr_text(not_before=now)
    return [
        (good, Verdict.GREEN),
        (SIGNER.qr_text(not_before=now, credential_index=2), Verdict.YELLOW),
        (SIGNER.qr_text(not_before=now, credential_index=3), Verdict.RED),
        (SIGNER.qr_text(not_before=now, credential_index=4), Verdict.REPLACED),
        (SIGNER.qr_text(not_before=now, credential_index=5), Verdict.NO_STATUS),
        (SIGNER.qr_text(not_before=now - 3_600), Verdict.EXPIRED),
        (SIGNER.qr_text(not_before=now + 3_600), Verdict.NOT_YET_VALID),
        (Signer("a stranger").qr_text(not_before=now), Verdict.UNKNOWN_KEY),
        (altered(good), Verdict.BAD_SIGNATURE),
        (good[:-1], Verdict.MALFORMED),
        (b"GL1:", Verdict.MALFORMED),
        (b"GL1:" + b"0" * 600, Verdict.MALFORMED),
        ("停车票".encode(), Verdict.MALFORMED),
    ]


def altered(qr_text: bytes) -> bytes:
    """Change a bit in the middle of the signature."""
    middle = len(qr_text) - 30
    return qr_text[:middle] + (b"1" if qr_text[middle:][:1] == b"0" else b"0") + qr_text[middle + 1 :]


def test_it_gives_the_verdicts_of_ours_one_by_one_and_in_batches(address: str) -> None:
    texts, expected = zip(*scans(), strict=True)
    with VerifierClient(address, gate_id="north-3") as client:
        assert tuple(client.verify(text).verdict for text in texts) == expected
        assert tuple(answer.verdict for answer in client.verify_many(texts)) == expected


def test_it_gives_the_verdicts_of_ours_on_a_lane(address: str) -> None:
    texts, expected = zip(*scans(), strict=True)
    requests = (
        pb.StreamVerifyRequest(scan=pb.VerifyCodeRequest(qr_text=text, scan_id=str(number), gate_id="a"))
        for number, text in enumerate(texts)
    )
    with grpc.insecure_channel(address) as channel:
        answers = [one.verdict for one in VerifierServiceStub(channel).StreamVerify(requests, timeout=10)]
    assert [answer.verdict for answer in answers] == list(expected)
    assert [answer.scan_id for answer in answers] == [str(number) for number in range(len(texts))]


def test_without_redis_there_is_no_verdict(address: str, status: EmbeddedRedis) -> None:
    status.kill()
    with (
        VerifierClient(address, gate_id="north-3", deadline_s=0.5) as client,
        pytest.raises(NoAnswer),
    ):
        client.verify(SIGNER.qr_text(not_before=int(time.time())))
