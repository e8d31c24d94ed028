"""The client's side: keys that stay on the machine, deadlines, TLS."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from issuer.access.bearer import make_key, write_key_file
from issuer.client import IssuerClient
from issuer.config import ClientSettings, load
from issuer.errors import KeyFileError, SettingsError
from issuer.register.database import Database
from issuer.tls import ClientTls, ServerTls
from issuer.v1 import access_pb2, cache_pb2, issuer_pb2
from tests.issuer.certificates import Authority
from tests.issuer.refusals import refused_call
from tests.issuer.serving import Serving

KEY_SET = issuer_pb2.GetKeySetRequest()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("GATELIGHT_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "issuer").mkdir(mode=0o700)
    return tmp_path / "issuer"


@pytest.fixture
def serving(sqlite_database: Database, folder: Path) -> Iterator[Serving]:
    serving = Serving(sqlite_database, socket=folder / "issuer.sock")
    yield serving
    serving.stop()


@pytest.fixture
def frozen() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_the_folder_alone_is_enough_on_this_machine(serving: Serving, folder: Path) -> None:
    write_key_file(folder / "local.key", serving.staff.keys["operator"])
    with IssuerClient.from_settings(load(ClientSettings, {"folder": folder})) as client:
        assert client.access.ListClients(access_pb2.ListClientsRequest()).clients


def test_a_key_file_that_others_can_read_is_not_used(serving: Serving, folder: Path) -> None:
    write_key_file(folder / "local.key", make_key())
    (folder / "local.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        IssuerClient.from_settings(load(ClientSettings, {"folder": folder}))


def test_the_key_goes_with_unary_calls_and_with_streams(serving: Serving) -> None:
    operator = serving.client("operator")
    operator.access.ListClients(access_pb2.ListClientsRequest())
    call = operator.cache.RebuildCache(cache_pb2.RebuildCacheRequest())
    assert next(call).shards_done == 1
    call.cancel()
    assert list(serving.client("clerk").admin.ImportHolders(iter(()))) == []


def test_metadata_of_the_caller_stays_beside_the_key(serving: Serving) -> None:
    client = serving.client("app")
    assert client.issuer.GetKeySet(KEY_SET, metadata=[("x-trace", "1")])


def test_a_key_never_leaves_this_machine_in_plain_text() -> None:
    """A server beyond loopback is spoken to in TLS: one that speaks none sees a ClientHello, and no key."""
    address = _own_address()
    key = make_key()
    with socket.create_server((address, 0)) as listener:
        listener.settimeout(10)
        with IssuerClient(f"{address}:{listener.getsockname()[1]}", key=key, timeout_s=5) as client:
            call = client.issuer.GetKeySet.future(KEY_SET)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                received = connection.recv(65_536)
            call.cancel()
    assert received[0] == 0x16  # a handshake record, RFC 8446, section 5.1
    assert key.encode() not in received


def test_plain_text_to_another_machine_takes_a_word(sqlite_database: Database) -> None:
    address = _own_address()
    serving = Serving(sqlite_database, listen=f"{address}:0")
    client = serving.client("app", address=f"{address}:{serving.server.port}", insecure=True)
    assert client.issuer.GetKeySet(KEY_SET)
    serving.stop()


def test_unary_calls_have_a_deadline(frozen: str) -> None:
    with IssuerClient(frozen, timeout_s=0.3) as client:
        error = refused_call(client.issuer.GetKeySet, KEY_SET)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        error = refused_call(client.access.ListClients, access_pb2.ListClientsRequest())
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_streams_and_approvals_last_longer_than_a_unary_call(serving: Serving, frozen: str) -> None:
    call = serving.client("operator", timeout_s=0.2).cache.RebuildCache(cache_pb2.RebuildCacheRequest())
    assert [next(call).shards_done for _ in range(40)] == list(range(1, 41))
    call.cancel()
    with IssuerClient(frozen, timeout_s=0.1) as client:
        approve = client.access.Approve.future(access_pb2.ApproveRequest(approval_id=1))
        assert refused_call(client.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not approve.done()
        approve.cancel()


def test_a_server_that_is_not_there_is_known_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with IssuerClient(f"127.0.0.1:{port}") as client:
        assert refused_call(client.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.UNAVAILABLE


def test_a_proxy_of_the_environment_is_not_asked(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert serving.client("app").issuer.GetKeySet(KEY_SET)


@pytest.mark.parametrize("server", ["issuer", "http://issuer:1", "issuer:", ":1", "dns:///issuer"])
def test_what_is_no_address_is_refused(server: str) -> None:
    with pytest.raises(SettingsError, match="--server: expected HOST:PORT"):
        IssuerClient(server)


def test_tls_and_plain_text_at_once_is_refused(tmp_path: Path) -> None:
    files = ClientTls(ca=Authority(tmp_path).certificate)
    with pytest.raises(SettingsError, match="leave out the files of TLS"):
        IssuerClient("issuer:1", tls=files, insecure=True)
    with pytest.raises(SettingsError, match="leave out the files of TLS"):
        IssuerClient("unix:/x", tls=files)


def test_the_settings_of_tls_reach_the_server(sqlite_database: Database, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, mine = authority.issue("server"), authority.issue("mine")
    serving = Serving(sqlite_database, tls=ServerTls(server.certificate, server.key, authority.certificate))
    options = {
        "server": serving.address,
        "folder": tmp_path,
        "tls_ca": authority.certificate,
        "tls_certificate": mine.certificate,
        "tls_key": mine.key,
    }
    with IssuerClient.from_settings(load(ClientSettings, options)) as client:
        assert refused_call(client.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.UNAUTHENTICATED
    serving.stop()


def test_a_certificate_without_its_key_and_a_missing_authority_are_named(tmp_path: Path) -> None:
    mine = Authority(tmp_path).issue("mine")
    with pytest.raises(SettingsError, match="come together"):
        IssuerClient("issuer:1", tls=ClientTls(certificate=mine.certificate))
    with pytest.raises(SettingsError, match=r"cannot read .*nowhere"):
        IssuerClient("issuer:1", tls=ClientTls(ca=tmp_path / "nowhere"))


def _own_address() -> str:
    """Return an address of this machine that is not loopback, or skip the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no network")
    return address
