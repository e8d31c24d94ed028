"""The issuer's server over real sockets."""

import contextlib
import os
import socket
import ssl
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from grpc_health.v1 import health_pb2, health_pb2_grpc

from issuer.access.clients import NewClient
from issuer.access.roles import Role
from issuer.addresses import socket_address
from issuer.client import IssuerClient
from issuer.errors import SettingsError
from issuer.register.database import Database
from issuer.server import SERVICE_NAMES
from issuer.tls import ClientTls, ServerTls
from issuer.v1 import admin_pb2, cache_pb2, issuer_pb2
from tests.eventually import eventually
from tests.issuer.certificates import Authority
from tests.issuer.refusals import refused_call, retry_after_s
from tests.issuer.serving import Serving

KEY_SET = issuer_pb2.GetKeySetRequest()
STATUS = admin_pb2.GetStatusRequest(holder_id=17)
BUNDLE = issuer_pb2.IssueBundleRequest(credential_index=1)
UNKNOWN = "no client is known by this bearer key or certificate, or none was given"
_Start = Callable[..., Serving]


@pytest.fixture
def start(sqlite_database: Database) -> Iterator[_Start]:
    """Starts servers that are stopped at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start_one(**options: Any) -> Serving:
            serving = Serving(sqlite_database, **options)
            stack.callback(serving.stop)
            return serving

        yield start_one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "issuer").mkdir(mode=0o700)
    return tmp_path / "issuer"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_it_answers_on_tcp_and_on_the_socket_at_once(start: _Start, folder: Path) -> None:
    serving = start(socket=folder / "issuer.sock")
    for address in (serving.address, socket_address(folder / "issuer.sock")):
        client = serving.client("app", address=address)
        assert client.issuer.GetKeySet(KEY_SET).signed_key_set == b"key set"


def test_the_socket_alone_will_do(start: _Start, folder: Path) -> None:
    serving = start(listen="", socket=folder / "issuer.sock")
    assert serving.server.port == 0
    client = serving.client("app", address=socket_address(folder / "issuer.sock"))
    assert client.issuer.GetKeySet(KEY_SET)


@pytest.mark.parametrize("name", ["with space", "市 100%", "a?b#c"])
def test_a_folder_may_have_any_name(start: _Start, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    serving = start(listen="", socket=tmp_path / name / "issuer.sock")
    assert (tmp_path / name / "issuer.sock").is_socket()
    client = serving.client("app", address=socket_address(tmp_path / name / "issuer.sock"))
    assert client.issuer.GetKeySet(KEY_SET)


def test_a_relative_path_will_do(start: _Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    serving = start(listen="", socket=Path("issuer/issuer.sock"))
    client = serving.client("app", address=socket_address(Path("issuer/issuer.sock")))
    assert client.issuer.GetKeySet(KEY_SET)


def test_the_socket_is_open_to_its_owner_alone_and_gone_afterwards(start: _Start, folder: Path) -> None:
    path = folder / "issuer.sock"
    serving = start(listen="", socket=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.umask(0o022) == 0o022  # as it was
    serving.stop()
    assert not path.exists()


def test_the_socket_of_an_issuer_that_died_is_replaced(start: _Start, folder: Path) -> None:
    path = folder / "issuer.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    serving = start(listen="", socket=path)
    assert serving.client("app", address=socket_address(path)).issuer.GetKeySet(KEY_SET)


def test_the_socket_of_an_issuer_that_lives_is_left_alone(start: _Start, folder: Path) -> None:
    first = start(listen="", socket=folder / "issuer.sock")
    with pytest.raises(SettingsError, match="another server listens"):
        start(listen="", socket=folder / "issuer.sock")
    client = first.client("app", address=socket_address(folder / "issuer.sock"))
    assert client.issuer.GetKeySet(KEY_SET)


def test_a_file_that_is_no_socket_is_left_alone(start: _Start, folder: Path) -> None:
    (folder / "issuer.sock").write_text("precious")
    with pytest.raises(SettingsError, match="no socket: move it away"):
        start(listen="", socket=folder / "issuer.sock")
    assert (folder / "issuer.sock").read_text() == "precious"


@pytest.mark.parametrize(("length", "is_taken"), [(106, True), (107, True), (108, False)])
def test_a_socket_path_has_up_to_107_bytes_and_the_error_says_so(
    start: _Start, length: int, is_taken: bool
) -> None:
    with tempfile.TemporaryDirectory(prefix="gl") as short:  # pytest's own folder may be too long
        path = Path(short, "x" * (length - len(short) - 1))
        if is_taken:
            serving = start(listen="", socket=path)
            assert serving.client("app", address=socket_address(path)).issuer.GetKeySet(KEY_SET)
            serving.stop()
        else:
            with pytest.raises(SettingsError, match=r"has 108 bytes.*may have 107.*shorter --folder"):
                start(listen="", socket=path)


def test_a_socket_in_a_folder_that_is_not_there_is_an_error_that_names_it(
    start: _Start, folder: Path
) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        start(listen="", socket=folder / "nowhere" / "issuer.sock")


def test_a_taken_port_is_an_error_that_says_what_to_do(start: _Start) -> None:
    first = start()
    with pytest.raises(SettingsError, match=r"cannot listen on 127.0.0.1:\d+: .*in use.*choose another"):
        start(listen=first.address)


def test_an_address_of_another_machine_is_an_error_that_says_why(start: _Start) -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1:0.*[Cc]annot assign"):
        start(listen="192.0.2.1:0")


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", ":50061", "::1:50061"])
def test_what_is_no_address_is_an_error(start: _Start, listen: str) -> None:
    with pytest.raises(SettingsError, match="--listen: expected HOST:PORT"):
        start(listen=listen)


def test_health_needs_no_client_and_says_serving_for_every_service(start: _Start) -> None:
    serving = start()
    with grpc.insecure_channel(serving.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICE_NAMES):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        serving.server._health.set_serving(False)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_the_largest_request_is_taken_and_a_larger_one_refused(start: _Start) -> None:
    clerk = start().client("clerk").admin
    longest = admin_pb2.NewHolder(
        name="𠮷" * 200,
        document_type="𠮷" * 32,
        document_number="𠮷" * 64,
        region="𠮷" * 64,
        guardian_id=(1 << 64) - 1,
        external_id="𠮷" * 64,
    )
    request = admin_pb2.EnrolHoldersRequest(holders=[longest] * 1_000)
    assert len(clerk.EnrolHolders(request).holder_ids) == 1_000
    batch = admin_pb2.ImportHoldersRequest(rows=[longest] * 1_000, guardian_external_ids=["𠮷" * 64] * 1_000)
    assert next(clerk.ImportHolders(iter([batch]))).outcome.known == 1_000
    request = admin_pb2.EnrolHoldersRequest(holders=[longest] * 3_000)
    assert refused_call(clerk.EnrolHolders, request).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_bundles_hold_up_no_other_call(start: _Start) -> None:
    serving = start()
    serving.held = threading.Event()
    app = serving.client("app").issuer
    waiting = [app.IssueBundle.future(BUNDLE) for _ in range(8)]
    for _ in range(2):
        assert serving.begun.acquire(timeout=10)
    assert app.GetKeySet(KEY_SET)
    assert not serving.begun.acquire(timeout=0.05)  # no third is taken up
    serving.held.set()
    for call in waiting:
        call.result()


def test_a_flood_of_bundles_is_refused_beyond_what_may_wait_and_leaves_room_for_others(start: _Start) -> None:
    serving = start()
    serving.held = threading.Event()
    app = serving.client("app").issuer
    flood = [app.IssueBundle.future(BUNDLE) for _ in range(100)]
    eventually(lambda: sum(call.done() for call in flood) == 100 - 2 * 17)
    refused = [call for call in flood if call.done()]
    for call in refused:
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_after_s(call) == 2
    assert app.GetKeySet(KEY_SET)
    serving.held.set()
    for call in flood:
        if call not in refused:
            call.result()


def test_health_is_told_while_all_threads_are_busy_and_all_queues_full(start: _Start) -> None:
    serving = start(threads=1)
    serving.held = threading.Event()
    clerk = serving.client("clerk").admin
    flood = [clerk.GetStatus.future(STATUS) for _ in range(30)]
    eventually(lambda: sum(call.done() for call in flood) == 30 - 17)
    with grpc.insecure_channel(serving.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    serving.held.set()


def test_calls_without_a_key_that_send_nothing_keep_no_thread(start: _Start) -> None:
    serving = start(threads=8)
    methods = ["AdminService/GetStatus"] * 8 + ["IssuerService/IssueBundle"] * 2
    with grpc.insecure_channel(serving.address) as channel:
        silent = []
        for method in methods:
            call: Any = channel.stream_unary(f"/issuer.v1.{method}")
            silent.append(call.future(nothing_until(serving.ending)))
        serving.client("clerk").admin.GetStatus(STATUS)
        serving.client("app").issuer.IssueBundle(BUNDLE)
        for call in silent:
            assert call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert call.details() == UNKNOWN
        serving.ending.set()


def test_a_call_without_a_key_hears_that_nobody_knows_it_whatever_the_method(start: _Start) -> None:
    serving = start()
    stranger = serving.client()
    for call, request in (
        (stranger.admin.GetStatus, STATUS),
        (stranger.issuer.IssueBundles, issuer_pb2.IssueBundlesRequest()),
        (stranger.admin.ImportHolders, iter([admin_pb2.ImportHoldersRequest()])),
    ):
        error = refused_call(call, request)
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, UNKNOWN)


def test_clients_that_open_imports_and_send_nothing_do_not_keep_the_threads(start: _Start) -> None:
    serving = start(idle_stream_s=0.3)
    clerk = serving.client("clerk").admin
    silent = [clerk.ImportHolders(nothing_until(serving.ending)) for _ in range(8)]
    for call in silent:
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert len(list(clerk.ImportHolders(iter([admin_pb2.ImportHoldersRequest()])))) == 1
    expected = [*["FAILED_PRECONDITION"] * 8, "OK"]
    eventually(lambda: [outcome for *_, outcome in serving.recorded()] == expected)


def test_clients_that_do_not_read_their_bundles_do_not_keep_the_threads(start: _Start) -> None:
    serving = start(idle_stream_s=0.3)
    apps = [serving.client("app").issuer for _ in range(4)]
    unread = [app.IssueBundles(issuer_pb2.IssueBundlesRequest()) for app in apps]
    for call in unread:
        next(call)
    assert serving.client("app").issuer.IssueBundle(BUNDLE) is not None


def test_a_stream_that_moves_is_not_idle_however_long_it_lasts(start: _Start) -> None:
    serving = start(idle_stream_s=0.3)
    moved = 0

    def slowly() -> Iterator[admin_pb2.ImportHoldersRequest]:
        for _ in range(12):
            serving.ending.wait(0.1)
            yield admin_pb2.ImportHoldersRequest()

    for _ in serving.client("clerk").admin.ImportHolders(slowly()):
        moved += 1
    assert moved == 12


def test_time_in_which_the_issuer_works_is_not_idle(start: _Start) -> None:
    serving = start(idle_stream_s=0.1)
    call = serving.client("operator").cache.RebuildCache(cache_pb2.RebuildCacheRequest())
    assert [next(call).shards_done for _ in range(50)] == list(range(1, 51))
    call.cancel()


def test_tls_serves_clients_with_a_bearer_key(start: _Start, authority: Authority) -> None:
    server = authority.issue("server")
    serving = start(tls=ServerTls(server.certificate, server.key))
    client = serving.client("app", tls=ClientTls(ca=authority.certificate))
    assert client.issuer.GetKeySet(KEY_SET).signed_key_set == b"key set"
    anonymous = serving.client(tls=ClientTls(ca=authority.certificate))
    assert refused_call(anonymous.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.UNAUTHENTICATED


def test_plain_text_is_not_understood_where_tls_is_spoken(start: _Start, authority: Authority) -> None:
    server = authority.issue("server")
    serving = start(tls=ServerTls(server.certificate, server.key))
    client = serving.client("app")
    assert refused_call(client.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_that_trusts_another_authority_does_not_call(
    start: _Start, authority: Authority, tmp_path: Path
) -> None:
    server = authority.issue("server")
    serving = start(tls=ServerTls(server.certificate, server.key))
    client = serving.client("app", tls=ClientTls(ca=Authority(tmp_path, "other").certificate))
    assert refused_call(client.issuer.GetKeySet, KEY_SET).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_begins_with_1_2(
    start: _Start, authority: Authority, version: ssl.TLSVersion, is_spoken: bool
) -> None:
    server = authority.issue("server")
    serving = start(tls=ServerTls(server.certificate, server.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.certificate)
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server that refuses
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", serving.server.port), timeout=10) as plain:
        if is_spoken:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as spoken:
                assert spoken.selected_alpn_protocol() == "h2"
        else:
            with pytest.raises(ssl.SSLError, match=r"UNEXPECTED_EOF|ALERT_PROTOCOL_VERSION"):
                context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_client_is_known_by_its_certificate_until_it_is_revoked(
    start: _Start, authority: Authority
) -> None:
    serving, as_known = start_with_client_ca(start, authority)
    known = authority.issue("gate")
    new = NewClient("gate", frozenset({Role.CLERK}), certificate_sha256=known.sha256)
    serving.clients.add(new, now=1)
    client = as_known(known)
    client.admin.GetStatus(STATUS)
    assert serving.recorded()[-1][0] == "gate"
    serving.clients.revoke("gate", now=2)
    assert refused_call(client.admin.GetStatus, STATUS).code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_certificate_of_the_authority_that_is_no_clients_is_refused(
    start: _Start, authority: Authority
) -> None:
    serving, as_known = start_with_client_ca(start, authority)
    client = as_known(authority.issue("stranger"))
    assert refused_call(client.admin.GetStatus, STATUS).code() is grpc.StatusCode.UNAUTHENTICATED
    assert serving.recorded() == []


def test_a_client_with_the_same_name_in_another_certificate_is_another(
    start: _Start, authority: Authority
) -> None:
    serving, as_known = start_with_client_ca(start, authority)
    first = authority.issue("gate")
    new = NewClient("gate", frozenset({Role.CLERK}), certificate_sha256=first.sha256)
    serving.clients.add(new, now=1)
    assert (
        refused_call(as_known(authority.issue("gate")).admin.GetStatus, STATUS).code()
        is grpc.StatusCode.UNAUTHENTICATED
    )


def test_where_certificates_are_asked_for_none_and_foreign_and_expired_ones_do_not_connect(
    start: _Start, authority: Authority, tmp_path: Path
) -> None:
    serving, as_known = start_with_client_ca(start, authority)
    foreign = Authority(tmp_path, "other").issue("foreign")
    expired = authority.issue("expired", days_from_now=-3)
    early = authority.issue("early", days_from_now=3)
    for number, pair in enumerate((foreign, expired, early)):
        new = NewClient(f"client{number}", frozenset({Role.CLERK}), certificate_sha256=pair.sha256)
        serving.clients.add(new, now=1)
        assert refused_call(as_known(pair).admin.GetStatus, STATUS).code() is grpc.StatusCode.UNAVAILABLE
    none = serving.client("clerk", tls=ClientTls(ca=authority.certificate))
    assert refused_call(none.admin.GetStatus, STATUS).code() is grpc.StatusCode.UNAVAILABLE


def test_a_bearer_key_counts_before_the_certificate_of_the_connection(
    start: _Start, authority: Authority
) -> None:
    serving, as_known = start_with_client_ca(start, authority)
    proxy = authority.issue("proxy")
    new = NewClient("proxy", frozenset({Role.AUDITOR}), certificate_sha256=proxy.sha256)
    serving.clients.add(new, now=1)
    as_known(proxy, key=serving.staff.keys["clerk"]).admin.GetStatus(STATUS)
    assert serving.recorded()[-1][0] == "clerk"
    wrong = as_known(proxy, key="gl_" + "x" * 43)
    assert refused_call(wrong.admin.GetStatus, STATUS).code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_socket_needs_no_certificate(start: _Start, authority: Authority, folder: Path) -> None:
    server = authority.issue("server")
    tls = ServerTls(server.certificate, server.key, authority.certificate)
    serving = start(tls=tls, socket=folder / "issuer.sock")
    client = serving.client("app", address=socket_address(folder / "issuer.sock"))
    assert client.issuer.GetKeySet(KEY_SET)


def test_each_file_of_tls_that_is_wrong_is_named(start: _Start, authority: Authority, tmp_path: Path) -> None:
    good, other = (
        authority.issue("good"),
        authority.issue("other", key=ec.generate_private_key(ec.SECP384R1())),
    )
    locked = authority.issue("locked", passphrase=b"secret")
    edwards = authority.issue("edwards", key=ed25519.Ed25519PrivateKey.generate())
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    nowhere = tmp_path / "nowhere.pem"
    for tls, said in (
        (ServerTls(nowhere, good.key), "cannot read .*nowhere.pem"),
        (ServerTls(good.certificate, nowhere), "cannot read .*nowhere.pem"),
        (ServerTls(good.certificate, good.key, nowhere), "cannot read .*nowhere.pem"),
        (ServerTls(nonsense, good.key), "nonsense.pem is not a certificate"),
        (ServerTls(good.certificate, nonsense), "nonsense.pem is not a private key"),
        (ServerTls(good.certificate, good.key, nonsense), "nonsense.pem is not a certificate"),
        (ServerTls(good.key, good.key), "good.key is not a certificate"),
        (ServerTls(good.certificate, good.certificate), "good.pem is not a private key"),
        (ServerTls(locked.certificate, locked.key), "locked.key is encrypted"),
        (ServerTls(edwards.certificate, edwards.key), "edwards.key is neither an RSA nor an EC key"),
        (ServerTls(good.certificate, other.key), "other.key does not belong to .*good.pem"),
    ):
        with pytest.raises(SettingsError, match=said):
            start(tls=tls)


def start_with_client_ca(start: _Start, authority: Authority) -> tuple[Serving, Callable[..., IssuerClient]]:
    """Return a server that asks for certificates, and what makes a client with one."""
    server = authority.issue("server")
    serving = start(tls=ServerTls(server.certificate, server.key, authority.certificate))

    def client(pair: Any, key: str | None = None) -> IssuerClient:
        tls = ClientTls(ca=authority.certificate, certificate=pair.certificate, key=pair.key)
        return serving.client(tls=tls, key=key)

    return serving, client


def nothing_until(ending: threading.Event) -> Iterator[admin_pb2.ImportHoldersRequest]:
    ending.wait(30)
    yield from ()
