"""The port is ours, shared by our workers, and taken for anybody else."""

import socket
import sys

import pytest

from verifier.errors import SettingsError
from verifier.host.port import hold_port


def _listen(port: int, *, shared: bool) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_a_held_port_accepts_nobody_and_lets_workers_share_it() -> None:
    held = hold_port("127.0.0.1:0")
    with held.held:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((held.host, held.port), timeout=5)
        with _listen(held.port, shared=True) as one, _listen(held.port, shared=True):
            for _ in range(8):  # none of them goes to the socket that only holds the port
                socket.create_connection((held.host, held.port), timeout=5).close()
            assert one.getsockname()[1] == held.port


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_where_another_server_listens_is_taken(shared: bool) -> None:
    with (
        _listen(0, shared=shared) as server,
        pytest.raises(SettingsError, match="is another server running there"),
    ):
        hold_port(f"127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux gives out ports")
def test_a_port_that_an_outgoing_connection_has_is_told_of_with_what_keeps_it_out() -> None:
    hint = r"or an outgoing connection has .* net\.ipv4\.ip_local_reserved_ports"
    with (
        _listen(0, shared=False) as server,
        socket.create_connection(server.getsockname()) as client,
        pytest.raises(SettingsError, match=hint),
    ):
        hold_port(f"127.0.0.1:{client.getsockname()[1]}")


def test_a_port_that_another_verifier_holds_and_does_not_serve_yet_is_taken() -> None:
    with hold_port("127.0.0.1:0").held as held, pytest.raises(SettingsError, match="another server"):
        hold_port(f"127.0.0.1:{held.getsockname()[1]}")


def test_a_port_is_free_again_at_once_when_its_connections_linger() -> None:
    server = _listen(0, shared=False)
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        accepted, _ = server.accept()
        accepted.close()  # closed from this side first: it lingers
    server.close()
    hold_port(f"127.0.0.1:{port}").held.close()


@pytest.mark.parametrize("listen", ["no.such.host.invalid:0", "192.0.2.1:0"])
def test_an_address_that_is_not_of_this_machine_is_refused(listen: str) -> None:
    with pytest.raises(SettingsError, match="cannot listen"):
        hold_port(listen)


def test_localhost_is_an_address() -> None:
    held = hold_port("localhost:0")
    held.held.close()
    assert held.host in ("127.0.0.1", "::1")
