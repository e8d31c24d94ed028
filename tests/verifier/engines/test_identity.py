"""Who may call, on every engine: bearer keys, client certificates, and what nobody may claim."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import pytest

from tests.issuer.certificates import Authority, Pair
from tests.signer import Signer
from tests.verifier.engines.one_worker import OneWorker, one_worker
from tests.verifier.engines.serving import CHANNEL_OPTIONS, ENGINES, TIMEOUT_S, publish, stub
from verifier.bearer import hash_key, make_key
from verifier.client import VerifierClient, VerifierClientError
from verifier.client_tls import ClientTls
from verifier.host.worker_config import GateAuth, TlsFiles
from verifier.v1 import verifier_pb2 as pb
from verifier.wire.gate_list import ListedGate

KEY = make_key()
Code = grpc.StatusCode


@dataclass
class Doors:
    """Two authorities, and the certificates that they vouch for."""

    ours: Authority
    theirs: Authority
    server: Pair
    gate: Pair
    unlisted: Pair
    stranger: Pair


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    folder = tmp_path_factory.mktemp("certificates")
    ours, theirs = Authority(folder), Authority(folder, "theirs")
    return Doors(
        ours,
        theirs,
        server=ours.issue("server"),
        gate=ours.issue("gate"),
        unlisted=ours.issue("unlisted"),
        stranger=theirs.issue("stranger"),
    )


@pytest.fixture(scope="module")
def listed_redis_url(shared_redis_url: str, doors: Doors) -> str:
    gate = ListedGate("north", "all", (hash_key(KEY),), (doors.gate.sha256,))
    publish(shared_redis_url, gates=[gate])
    return shared_redis_url


@pytest.fixture(scope="module", params=ENGINES)
def with_keys(request: pytest.FixtureRequest, listed_redis_url: str, doors: Doors) -> Iterator[OneWorker]:
    """A verifier with TLS that asks for bearer keys."""
    tls = TlsFiles(doors.server.certificate, doors.server.key)
    with one_worker(request.param, listed_redis_url, gate_auth=GateAuth.KEY, tls=tls) as worker:
        yield worker


@pytest.fixture(scope="module", params=ENGINES)
def with_certificates(
    request: pytest.FixtureRequest, listed_redis_url: str, doors: Doors
) -> Iterator[OneWorker]:
    """A verifier that asks for client certificates."""
    tls = TlsFiles(doors.server.certificate, doors.server.key, doors.ours.certificate)
    with one_worker(request.param, listed_redis_url, gate_auth=GateAuth.CERTIFICATE, tls=tls) as worker:
        yield worker


def secure_channel(served: OneWorker, doors: Doors, pair: Pair | None = None) -> grpc.Channel:
    credentials = grpc.ssl_channel_credentials(
        doors.ours.certificate.read_bytes(),
        pair.key.read_bytes() if pair else None,
        pair.certificate.read_bytes() if pair else None,
    )
    return grpc.secure_channel(served.address, credentials, options=CHANNEL_OPTIONS)


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error.code()


def scan_at(gate_id: str) -> pb.VerifyCodeRequest:
    qr_text = Signer().qr_text(not_before=int(time.time()))
    return pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id=gate_id)


def bearer(key: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {key}")]


def test_a_key_that_is_listed_opens_for_its_gate_and_its_lanes(with_keys: OneWorker, doors: Doors) -> None:
    with secure_channel(with_keys, doors) as channel:
        for gate_id in ("", "north", "north/lane-3"):
            scan = scan_at(gate_id)
            answer = stub(channel).VerifyCode(scan, timeout=TIMEOUT_S, metadata=bearer(KEY))
            assert answer.verdict == pb.VERDICT_GREEN
        lane = iter([pb.StreamVerifyRequest(scan=scan_at("north/1"))])
        answers = list(stub(channel).StreamVerify(lane, timeout=TIMEOUT_S, metadata=bearer(KEY)))
        assert [answer.verdict.verdict for answer in answers] == [pb.VERDICT_GREEN]


def test_a_key_is_not_another_gates(with_keys: OneWorker, doors: Doors) -> None:
    with secure_channel(with_keys, doors) as channel:
        scan = scan_at("south")
        call = stub(channel).VerifyCode
        assert code_of(lambda: call(scan, timeout=TIMEOUT_S, metadata=bearer(KEY))) is Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        bearer(make_key()),
        bearer(""),
        [("authorization", "Basic eA==")],
        bearer(KEY) * 2,
        [("x-forwarded-client-cert", "Hash=" + 64 * "0")],
    ],
)
def test_without_a_key_that_is_listed_nobody_is_let_in(
    with_keys: OneWorker, doors: Doors, metadata: list[tuple[str, str]]
) -> None:
    with secure_channel(with_keys, doors) as channel:
        gate, scan = stub(channel), scan_at("north")
        batch = pb.VerifyCodesRequest(scans=[scan])
        lane = iter([pb.StreamVerifyRequest(scan=scan)])
        refused = Code.UNAUTHENTICATED
        assert code_of(lambda: gate.VerifyCode(scan, timeout=TIMEOUT_S, metadata=metadata)) is refused
        assert code_of(lambda: gate.VerifyCodes(batch, timeout=TIMEOUT_S, metadata=metadata)) is refused
        assert code_of(lambda: list(gate.StreamVerify(lane, timeout=TIMEOUT_S, metadata=metadata))) is refused


def test_a_certificate_that_is_listed_is_its_gates(with_certificates: OneWorker, doors: Doors) -> None:
    with secure_channel(with_certificates, doors, doors.gate) as channel:
        call = stub(channel).VerifyCode
        assert call(scan_at(""), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
        elsewhere = scan_at("south")
        assert code_of(lambda: call(elsewhere, timeout=TIMEOUT_S)) is Code.PERMISSION_DENIED


def test_a_certificate_that_is_not_listed_is_nobodys_whatever_it_claims(
    with_certificates: OneWorker, doors: Doors
) -> None:
    claim = [("x-forwarded-client-cert", f"Hash={doors.gate.sha256.hex()}"), *bearer(KEY)]
    with secure_channel(with_certificates, doors, doors.unlisted) as channel:
        call = stub(channel).VerifyCode
        scan = scan_at("north")
        assert code_of(lambda: call(scan, timeout=TIMEOUT_S)) is Code.UNAUTHENTICATED
        assert code_of(lambda: call(scan, timeout=TIMEOUT_S, metadata=claim)) is Code.UNAUTHENTICATED


def test_without_a_certificate_of_ours_there_is_no_connection(
    with_certificates: OneWorker, doors: Doors
) -> None:
    for pair in (None, doors.stranger):
        with secure_channel(with_certificates, doors, pair) as channel:
            call = stub(channel).VerifyCode
            scan = scan_at("north")
            assert code_of(lambda call=call, scan=scan: call(scan, timeout=TIMEOUT_S)) is Code.UNAVAILABLE  # type: ignore[misc]
    with with_certificates.channel() as channel:
        assert code_of(lambda: stub(channel).VerifyCode(scan, timeout=TIMEOUT_S)) is Code.UNAVAILABLE


def test_in_plain_text_nobody_has_a_certificate_whatever_is_claimed(
    listed_redis_url: str, doors: Doors
) -> None:
    claim = [("x-forwarded-client-cert", f"Hash={doors.gate.sha256.hex()}")]
    with (
        one_worker("envoy", listed_redis_url, gate_auth=GateAuth.CERTIFICATE) as worker,
        worker.channel() as channel,
    ):
        call = stub(channel).VerifyCode
        scan = scan_at("north")
        assert code_of(lambda: call(scan, timeout=TIMEOUT_S, metadata=claim)) is Code.UNAUTHENTICATED


def refusal(served: OneWorker, files: ClientTls | None, deadline_s: float = 0.1) -> str:
    with (
        VerifierClient(served.address, gate_id="north", deadline_s=deadline_s, tls=files) as client,
        pytest.raises(VerifierClientError) as caught,
    ):
        client.verify("x")
    return str(caught.value)


def test_a_gate_without_tls_or_key_is_told_what_it_lacks(with_keys: OneWorker, doors: Doors) -> None:
    assert "does it want TLS? give --tls-ca" in refusal(with_keys, None)
    assert "is not vouched for by" in refusal(with_keys, ClientTls(doors.theirs.certificate))
    assert "no key was given" in refusal(with_keys, ClientTls(doors.ours.certificate), TIMEOUT_S)


def test_a_gate_without_a_known_certificate_is_told_what_it_lacks(
    with_certificates: OneWorker, doors: Doors
) -> None:
    ca, stranger, unlisted = doors.ours.certificate, doors.stranger, doors.unlisted
    assert "does it want TLS? give --tls-ca" in refusal(with_certificates, None)
    assert "it asks for a certificate" in refusal(with_certificates, ClientTls(ca))
    foreign = ClientTls(ca, stranger.certificate, stranger.key)
    assert "who issued it is not known there" in refusal(with_certificates, foreign)
    known = ClientTls(ca, unlisted.certificate, unlisted.key)
    assert "is not known (any more)" in refusal(with_certificates, known, TIMEOUT_S)
