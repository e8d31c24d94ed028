"""A gate that cannot reach its verifier says why."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.issuer.certificates import Authority
from tests.verifier.gate.fake_verifier import Failure, FakeVerifier
from verifier.client import NoAnswer, NotAdmitted, VerifierClient
from verifier.client_tls import ClientTls
from verifier.diagnosis import Diagnosis


@dataclass(frozen=True)
class City:
    """An authority, a stranger, and three verifiers: in plain text, over TLS, and asking for certificates."""

    authority: Authority
    stranger: Authority
    folder: Path
    plain: str
    tls: str
    mutual: str


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("city")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    own = authority.issue("verifier")
    pair = [(own.key.read_bytes(), own.certificate.read_bytes())]
    tls = grpc.ssl_server_credentials(pair)
    mutual = grpc.ssl_server_credentials(pair, authority.certificate.read_bytes(), require_client_auth=True)
    with (
        FakeVerifier() as one,
        FakeVerifier(credentials=tls) as other,
        FakeVerifier(credentials=mutual) as third,
    ):
        yield City(authority, stranger, folder, one.target, other.target, third.target)


@pytest.fixture
def closed() -> str:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


def reason(target: str, *files: Path | None) -> str | None:
    return Diagnosis(target, ClientTls(*files) if files else None).reason()


def test_what_answers_has_no_reason(city: City) -> None:
    gate = city.authority.issue("gate")
    assert reason(city.plain) is None
    assert reason(city.tls, city.authority.certificate) is None
    assert reason(city.mutual, city.authority.certificate, gate.certificate, gate.key) is None


def test_a_closed_port_and_an_unknown_name_are_told(city: City, closed: str, tmp_path: Path) -> None:
    assert reason(closed) == f"nobody listens at {closed}"
    assert reason(closed, city.authority.certificate) == f"nobody listens at {closed}"
    assert reason(f"unix:{tmp_path}/none") == f"nobody listens at unix:{tmp_path}/none"


def test_a_certificate_that_is_not_vouched_for_names_the_file(city: City) -> None:
    wrong = city.stranger.certificate
    assert reason(city.tls, wrong) == f"its certificate is not vouched for by {wrong}"
    assert reason(city.tls, None) == (
        "this machine trusts nobody who vouches for its certificate: give --tls-ca"
    )
    _, port = city.tls.split(":")
    assert reason(f"localhost:{port}", city.authority.certificate) == (
        "its certificate is not for localhost: name a host that is in it"
    )


def test_a_missing_or_foreign_certificate_of_the_gate_is_told(city: City) -> None:
    foreign = city.stranger.issue("foreign")
    assert reason(city.mutual, city.authority.certificate) == (
        "it asks for a certificate: --tls-certificate and --tls-key"
    )
    assert reason(city.mutual, city.authority.certificate, foreign.certificate, foreign.key) == (
        f"it does not take the certificate {foreign.certificate}: who issued it is not known there"
    )


def test_tls_and_plain_text_are_told_apart(city: City) -> None:
    assert reason(city.tls) == "does it want TLS? give --tls-ca"
    assert reason(city.mutual) == "does it want TLS? give --tls-ca"
    told = reason(city.plain, city.authority.certificate)
    assert told is not None
    assert told.startswith("it speaks plain text")


@pytest.mark.parametrize("target", ["ipv4:127.0.0.1:1,127.0.0.1:2", "xds:///verifier", "", ":1", "a:b"])
def test_a_target_that_cannot_be_looked_at_has_no_reason_and_raises_nothing(target: str) -> None:
    assert reason(target) is None


def test_one_reason_serves_all_failures_of_some_seconds(city: City, closed: str) -> None:
    diagnosis = Diagnosis(closed, None)
    assert diagnosis.reason() is not None
    diagnosis._target = city.plain
    assert diagnosis.reason() == f"nobody listens at {closed}"


def test_a_call_that_failed_tells_the_reason(closed: str) -> None:
    with VerifierClient(closed, deadline_s=0.1) as client, pytest.raises(NoAnswer) as caught:
        client.verify(b"x")
    assert str(caught.value) == (
        f"{closed} did not answer within 0.1 s in plain text: nobody listens at {closed}"
    )


@pytest.mark.parametrize(
    ("asked", "key", "told"),
    [
        ("no gate is known by this bearer key, or none was given", None, "no key was given"),
        ("no gate is known by this bearer key, or none was given", "gl_x", "the key given is not known"),
        (
            "no gate is known by this certificate, or none was shown",
            "gl_x",
            "takes no keys: --tls-certificate",
        ),
        ("who are you", "gl_x", "who are you"),
    ],
)
def test_a_gate_that_is_not_known_is_told_what_it_lacks(asked: str, key: str | None, told: str) -> None:
    with FakeVerifier() as fake, VerifierClient(fake.target, deadline_s=20.0, bearer_key=key) as client:
        fake.script += [Failure(grpc.StatusCode.UNAUTHENTICATED, details=asked)]
        with pytest.raises(NotAdmitted, match=told):
            client.verify(b"x")
