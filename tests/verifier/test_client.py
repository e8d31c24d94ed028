import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.eventually import eventually
from tests.issuer.certificates import Authority
from tests.verifier.gate.fake_verifier import Failure, FakeVerifier, green
from verifier.client import Answer, EntryScope, Misuse, NoAnswer, NotAdmitted, Scan, VerifierClient
from verifier.client_tls import ClientTls
from verifier.errors import SettingsError
from verifier.listen import is_local_target
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

QR_TEXT = b"GL1:6BFNA/$SECRET"
# For calls that must succeed: far more than they take. For those that must not: all that they get.
LONG_S, SHORT_S = 20.0, 0.2

UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE)
INVALID = Failure(grpc.StatusCode.INVALID_ARGUMENT)


@pytest.fixture
def fake() -> Iterator[FakeVerifier]:
    with FakeVerifier() as fake:
        yield fake


@pytest.fixture
def client(fake: FakeVerifier) -> Iterator[VerifierClient]:
    with VerifierClient(fake.target, gate_id="north-3", deadline_s=LONG_S) as client:
        yield client


def impatient(fake: FakeVerifier) -> VerifierClient:
    return VerifierClient(fake.target, gate_id="north-3", deadline_s=SHORT_S)


def test_an_answer_carries_everything_the_verifier_says(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.answer = lambda scan: pb.VerifyCodeResponse(
        scan_id=scan.scan_id,
        verdict=pb.VERDICT_TEST_TOO_OLD,
        colour=pb.COLOUR_GREEN,
        colour_reason=17,
        last_negative_test=1_700_000_040,
        kind=pb.CREDENTIAL_KIND_PAPER,
        hint="王*秀",
        code_age_s=-5,
        status_age_ms=1_234,
        verified_at_ms=1_700_000_000_123,
    )
    assert client.verify(QR_TEXT, "scan-1") == Answer(
        scan_id="scan-1",
        verdict=Verdict.TEST_TOO_OLD,
        colour=Colour.GREEN,
        colour_reason=17,
        last_negative_test=1_700_000_040,
        kind=CredentialKind.PAPER,
        hint="王*秀",
        code_age_s=-5,
        status_age_ms=1_234,
        verified_at_ms=1_700_000_000_123,
    )


def test_what_the_verifier_does_not_know_is_none(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.answer = lambda scan: pb.VerifyCodeResponse(scan_id=scan.scan_id, verdict=pb.VERDICT_MALFORMED)
    answer = client.verify(QR_TEXT)
    assert (answer.colour, answer.kind, answer.code_age_s) == (Colour.NONE, None, None)
    assert answer.last_negative_test is None


def test_a_code_age_of_zero_is_known(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.answer = lambda scan: pb.VerifyCodeResponse(scan_id=scan.scan_id, verdict=1, code_age_s=0)  # type: ignore[arg-type]
    assert client.verify(QR_TEXT).code_age_s == 0


@pytest.mark.parametrize("number", range(16))
def test_only_green_opens_the_gate(fake: FakeVerifier, client: VerifierClient, number: int) -> None:
    fake.answer = lambda scan: pb.VerifyCodeResponse(scan_id=scan.scan_id, verdict=number)  # type: ignore[arg-type]
    answer = client.verify(QR_TEXT)
    assert answer.opens_gate is (number == 1)
    assert (answer.verdict is Verdict.GREEN) is (number == 1)


@pytest.mark.parametrize("number", [0, 16, 4_097, 2**31 - 1])
def test_a_verdict_from_the_future_is_none(fake: FakeVerifier, client: VerifierClient, number: int) -> None:
    fake.answer = lambda scan: pb.VerifyCodeResponse(scan_id=scan.scan_id, verdict=number)  # type: ignore[arg-type]
    assert client.verify(QR_TEXT).verdict is None


def test_the_verdict_on_another_scan_is_no_answer(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.answer = lambda _: pb.VerifyCodeResponse(scan_id="of-somebody-else", verdict=1)  # type: ignore[arg-type]
    with pytest.raises(NoAnswer):
        client.verify(QR_TEXT)


def test_the_gate_and_the_text_are_sent_as_they_are(fake: FakeVerifier, client: VerifierClient) -> None:
    client.verify(b"\xff\x00 ")
    assert (fake.scans[0].qr_text, fake.scans[0].gate_id) == (b"\xff\x00 ", "north-3")


def test_a_text_may_be_given_as_characters(fake: FakeVerifier, client: VerifierClient) -> None:
    client.verify("GL1:秀\ud800")
    assert fake.scans[0].qr_text == "GL1:秀?".encode()


@pytest.mark.parametrize(("length", "sent"), [(512, 512), (513, 513), (514, 513), (5_000_000, 513)])
def test_an_overlong_text_is_cut_where_it_is_sure_to_be_malformed(
    fake: FakeVerifier, client: VerifierClient, length: int, sent: int
) -> None:
    client.verify(b"x" * length)
    assert len(fake.scans[0].qr_text) == sent


def test_every_presentation_has_a_scan_id_of_its_own(fake: FakeVerifier, client: VerifierClient) -> None:
    client.verify(QR_TEXT)
    client.verify(QR_TEXT)
    assert len({scan.scan_id for scan in fake.scans}) == 2


def test_a_retry_keeps_its_scan_id(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.script += [UNAVAILABLE, Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback_ms=1)]
    assert client.verify(QR_TEXT).opens_gate
    assert len(fake.scans) == 3
    assert len({scan.scan_id for scan in fake.scans}) == 1


def test_a_call_that_a_server_cancels_while_it_stops_is_asked_again(
    fake: FakeVerifier, client: VerifierClient
) -> None:
    fake.script += [Failure(grpc.StatusCode.CANCELLED)]
    assert client.verify(QR_TEXT).opens_gate


def test_a_verifier_that_forbids_retries_is_obeyed(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.script += [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback_ms=-1)]
    with pytest.raises(NoAnswer) as caught:
        client.verify(QR_TEXT)
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    assert fake.calls == 1


def test_retries_end_with_their_budget(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.script += [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback_ms=1)] * 100
    for _ in range(10):
        with pytest.raises(NoAnswer):
            client.verify(QR_TEXT)
    calls_with_a_budget = fake.calls
    with pytest.raises(NoAnswer):
        client.verify(QR_TEXT)
    assert fake.calls == calls_with_a_budget + 1


class Way:
    """A way to a verifier on which connections can be lost."""

    def __init__(self, target: str) -> None:
        self._to = int(target.rpartition(":")[2])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._carrying: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def lose(self) -> None:
        """Lose the connections that there are."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # which wakes who accepts; macOS does so by closing
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join()
        self.lose()
        for thread in self._carrying:
            thread.join()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                gate, _ = self._listening.accept()
                verifier = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [gate, verifier]
                for ends in ((gate, verifier), (verifier, gate)):
                    thread = threading.Thread(target=self._carry, args=ends, daemon=True)
                    thread.start()
                    self._carrying.append(thread)

    def _carry(self, begin: socket.socket, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := begin.recv(1 << 16):
                end.sendall(content)


def test_all_calls_of_a_connection_that_is_lost_are_asked_again_whatever_is_left_of_the_budget() -> None:
    calls = 24
    with FakeVerifier(threads=2 * calls) as fake, contextlib.closing(Way(fake.target)) as way:
        fake.freeze()
        with (
            VerifierClient(way.target, gate_id="hub", deadline_s=LONG_S) as client,
            ThreadPoolExecutor(calls) as lanes,
        ):
            answers = [lanes.submit(client.verify, QR_TEXT) for _ in range(calls)]
            eventually(lambda: len(fake.scans) == calls)
            way.lose()
            fake.thaw.set()
            assert all(answer.result().opens_gate for answer in answers)
        assert len({scan.scan_id for scan in fake.scans}) == calls


def test_a_gate_of_several_verifiers_goes_to_the_one_that_is_there(
    fake: FakeVerifier,
) -> None:
    with FakeVerifier() as gone:
        target = f"ipv4:{gone.target},{fake.target}"
    with VerifierClient(target, gate_id="north-3", deadline_s=LONG_S) as client:
        assert client.verify(QR_TEXT).opens_gate


@pytest.mark.parametrize(
    ("target", "is_local"),
    [
        ("ipv4:127.0.0.1:1,127.0.0.2:2", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:2", False),
        ("ipv6:[::1]:1", True),
        ("127.0.0.1:1", True),
        ("unix:/run/gate", True),
        ("dns:///gates:1", False),
    ],
)
def test_plain_text_is_for_targets_of_this_machine_alone(target: str, is_local: bool) -> None:
    assert is_local_target(target) is is_local


def test_a_call_that_breaks_the_api_is_misuse_and_not_retried(
    fake: FakeVerifier, client: VerifierClient
) -> None:
    fake.script += [INVALID]
    with pytest.raises(Misuse, match="as scripted"):
        client.verify(QR_TEXT)
    assert fake.calls == 1


_NOT_ADMITTED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_OTHERS = ("OK", "INVALID_ARGUMENT", "UNAVAILABLE", *_NOT_ADMITTED)


@pytest.mark.parametrize("name", _NOT_ADMITTED)
def test_a_gate_that_is_not_admitted_is_told_so_and_does_not_ask_again(
    fake: FakeVerifier, client: VerifierClient, name: str
) -> None:
    fake.script += [Failure(grpc.StatusCode[name])]
    with pytest.raises(NotAdmitted, match="does not admit this gate: as scripted") as caught:
        client.verify(QR_TEXT)
    assert (caught.value.status, fake.calls) == (name, 1)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name not in _OTHERS])
def test_every_other_status_is_no_answer(
    fake: FakeVerifier, client: VerifierClient, code: grpc.StatusCode
) -> None:
    fake.script += [Failure(code, pushback_ms=-1)]
    with pytest.raises(NoAnswer) as caught:
        client.verify(QR_TEXT)
    assert caught.value.status == code.name


def test_a_frozen_verifier_is_no_answer(fake: FakeVerifier) -> None:
    fake.freeze()
    with impatient(fake) as client, pytest.raises(NoAnswer, match=r"within 0\.2 s") as caught:
        client.verify(QR_TEXT)
    assert caught.value.status == "DEADLINE_EXCEEDED"


def test_a_verifier_that_is_not_there_is_no_answer(fake: FakeVerifier) -> None:
    fake.stop()
    with impatient(fake) as client, pytest.raises(NoAnswer):
        client.verify(QR_TEXT)


def test_a_scan_waits_for_a_verifier_that_comes_back_in_time(
    fake: FakeVerifier, client: VerifierClient
) -> None:
    client.verify(QR_TEXT)
    fake.stop()
    back = threading.Timer(0.05, fake.start)
    back.start()
    assert client.verify(QR_TEXT).opens_gate
    back.join()


def test_no_error_tells_the_qr_text(fake: FakeVerifier) -> None:
    fake.script += [INVALID, Failure(grpc.StatusCode.INTERNAL)]
    errors = []
    with impatient(fake) as client:
        for _ in range(2):
            with pytest.raises((NoAnswer, Misuse)) as caught:
                client.verify(QR_TEXT)
            errors.append(caught.value)
        fake.freeze()
        with pytest.raises(NoAnswer) as late:
            client.verify(QR_TEXT)
    assert not any("SECRET" in f"{error!r} {error.__cause__!r}" for error in [*errors, late.value])


def test_a_scan_does_not_show_its_text() -> None:
    assert "SECRET" not in repr(Scan(QR_TEXT))


def test_many_scans_are_answered_in_their_order_a_thousand_a_call(
    fake: FakeVerifier, client: VerifierClient
) -> None:
    scans = [Scan(QR_TEXT, f"scan-{number}") for number in range(2_001)]
    answers = client.verify_many(scans)
    assert [answer.scan_id for answer in answers] == [scan.scan_id for scan in scans]
    assert fake.calls == 3


def test_no_scans_need_no_call(fake: FakeVerifier, client: VerifierClient) -> None:
    assert client.verify_many([]) == []
    assert fake.calls == 0


def test_the_largest_call_is_retried(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.script += [UNAVAILABLE]
    assert len(client.verify_many([b"x" * 513] * 1_000)) == 1_000
    assert fake.calls == 2


def test_a_missing_verdict_fails_the_whole_call(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.keep_back = 1
    with pytest.raises(NoAnswer, match="expected 3 verdicts"):
        client.verify_many([QR_TEXT] * 3)


def test_a_stream_answers_in_order_over_one_call(fake: FakeVerifier, client: VerifierClient) -> None:
    scans = [Scan(QR_TEXT, f"scan-{number}") for number in range(50)]
    assert [answer.scan_id for answer in client.stream(scans)] == [scan.scan_id for scan in scans]
    assert fake.calls == 1


def test_a_stream_takes_no_scan_before_the_last_answer_was_used(client: VerifierClient) -> None:
    taken = []

    def scans() -> Iterator[bytes]:
        for number in range(3):
            taken.append(number)
            yield QR_TEXT

    answers = client.stream(scans())
    next(answers)
    assert taken == [0]


def test_a_broken_stream_asks_again_with_the_same_scan_id(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.script += [green, UNAVAILABLE]
    answers = list(client.stream([Scan(QR_TEXT, "first"), Scan(QR_TEXT, "second")]))
    assert [answer.scan_id for answer in answers] == ["first", "second"]
    assert [scan.scan_id for scan in fake.scans] == ["first", "second", "second"]
    assert fake.calls == 2


def test_a_stream_survives_a_restart_of_the_verifier(fake: FakeVerifier, client: VerifierClient) -> None:
    answers = client.stream([QR_TEXT] * 2)
    assert next(answers).opens_gate
    fake.stop()
    fake.start()
    assert next(answers).opens_gate


def test_a_stream_survives_its_end_in_good_order(fake: FakeVerifier, client: VerifierClient) -> None:
    fake.scans_per_stream = 1
    assert all(answer.opens_gate for answer in client.stream([QR_TEXT] * 3))
    assert fake.calls == 3


def test_a_new_stream_is_retried_with_the_delay_that_the_verifier_asks_for(
    fake: FakeVerifier, client: VerifierClient
) -> None:
    fake.script += [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback_ms=1)]
    assert next(client.stream([QR_TEXT])).opens_gate
    assert fake.calls == 2


def test_a_scan_on_a_stream_has_a_deadline(fake: FakeVerifier) -> None:
    with impatient(fake) as client:
        answers = client.stream([QR_TEXT] * 2)
        next(answers)
        fake.freeze()
        with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
            next(answers)


def test_a_lane_goes_on_after_a_scan_without_an_answer(fake: FakeVerifier, client: VerifierClient) -> None:
    scans = iter([Scan(QR_TEXT, "first"), Scan(QR_TEXT, "second")])
    fake.script += [INVALID]
    with pytest.raises(Misuse):
        next(client.stream(scans))
    assert next(client.stream(scans)).scan_id == "second"


def test_a_stream_that_is_left_ends_its_call(fake: FakeVerifier, client: VerifierClient) -> None:
    answers = client.stream([QR_TEXT] * 2)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert fake.stream_ended.wait(LONG_S)


def test_a_gate_is_told_how_far_was_looked_for_an_earlier_entry(
    fake: FakeVerifier, client: VerifierClient
) -> None:
    for number, scope in ((0, EntryScope.NONE), (1, EntryScope.ALL), (2, EntryScope.VERIFIER)):
        fake.answer = lambda scan, number=number: pb.VerifyCodeResponse(  # type: ignore[misc]
            scan_id=scan.scan_id, verdict=pb.VERDICT_GREEN, entry_scope=number
        )
        assert client.verify(QR_TEXT).entry_scope is scope


def test_the_key_goes_with_every_kind_of_call(fake: FakeVerifier) -> None:
    with VerifierClient(fake.target, deadline_s=LONG_S, bearer_key="gl_secret") as client:
        client.verify(QR_TEXT)
        client.verify_many([QR_TEXT])
        list(client.stream([QR_TEXT]))
    assert fake.authorizations == ["Bearer gl_secret"] * 3
    assert [scan.gate_id for scan in fake.scans] == [""] * 3


def test_tls_is_spoken_with_a_verifier_beyond_this_machine_and_the_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure: list[str] = []
    monkeypatch.setattr(grpc, "secure_channel", lambda target, *_, **__: secure.append(target))
    monkeypatch.setattr("verifier.client.pb_grpc.VerifierServiceStub", lambda _channel: None)
    monkeypatch.setattr(grpc, "insecure_channel", lambda *_, **__: None)
    for target in ("10.0.0.7:50051", "verifier.example:443", "127.0.0.1.example:443"):
        VerifierClient(target)
    for target in ("127.0.0.1:50051", "[::1]:50051", "localhost:50051", "unix:/run/verifier"):
        VerifierClient(target)
    VerifierClient("10.0.0.8:50051", insecure=True)
    assert secure == ["10.0.0.7:50051", "verifier.example:443", "127.0.0.1.example:443"]
    with pytest.raises(SettingsError, match="come together"):
        VerifierClient("10.0.0.7:50051", tls=ClientTls(certificate=tmp_path / "certificate"))
    with pytest.raises(SettingsError, match="cannot read"):
        VerifierClient("10.0.0.7:50051", tls=ClientTls(ca=tmp_path / "missing"))
    with pytest.raises(SettingsError, match="expected TLS or plain text"):
        VerifierClient("10.0.0.7:50051", tls=ClientTls(), insecure=True)


def test_a_gate_shows_its_certificate_and_believes_its_authority_alone(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, gate = authority.issue("verifier"), authority.issue("gate")
    credentials = grpc.ssl_server_credentials(
        [(server.key.read_bytes(), server.certificate.read_bytes())],
        root_certificates=authority.certificate.read_bytes(),
        require_client_auth=True,
    )
    with FakeVerifier(credentials=credentials) as fake:
        files = ClientTls(authority.certificate, gate.certificate, gate.key)
        with VerifierClient(fake.target, deadline_s=LONG_S, tls=files) as client:
            assert client.verify(QR_TEXT).opens_gate
        for wrong in (
            ClientTls(stranger.certificate, gate.certificate, gate.key),
            ClientTls(authority.certificate),
        ):
            with (
                VerifierClient(fake.target, deadline_s=SHORT_S, tls=wrong) as client,
                pytest.raises(NoAnswer),
            ):
                client.verify(QR_TEXT)
    assert len(fake.scans) == 1
