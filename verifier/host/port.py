"""The port of a verifier: held by the supervisor, which does not listen, and bound by every worker.

With SO_REUSEPORT the kernel spreads connections over the sockets that listen. The one held here keeps the
port for us while no worker listens, and keeps others off that do not share.
"""

import contextlib
import errno
import socket
import sys
from dataclasses import dataclass

from verifier.errors import SettingsError


@dataclass(frozen=True, slots=True)
class HeldPort:
    """An address that is ours until `held` is closed."""

    host: str  # an IP address
    port: int
    held: socket.socket


def hold_port(listen: str) -> HeldPort:
    """Bind `listen` (HOST:PORT, port 0 for a free one) without listening; raises SettingsError."""
    host, _, port = listen.rpartition(":")
    family, address = _resolve(host.strip("[]"), int(port), listen)
    if address[1]:
        _require_free(family, address, listen)
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family is socket.AF_INET6:
        with contextlib.suppress(OSError):  # as gRPC and Envoy do: `::` is for IPv4 as well
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        _bind(held, address)
    except OSError as error:
        held.close()
        raise SettingsError(f"cannot listen on {listen}: {error.strerror}") from None
    return HeldPort(address[0], held.getsockname()[1], held)


def _bind(held: socket.socket, address: tuple[str, int]) -> None:
    try:
        # Without SO_REUSEADDR, so that another verifier that starts now finds the port taken.
        held.bind(address)
    except OSError:
        # Connections of a server before us may linger on the port for a minute.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)


def _require_free(family: socket.AddressFamily, address: tuple[str, int], listen: str) -> None:
    """A second verifier on the port is a mistake: it must fail, and not take half of the calls."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            raise SettingsError(f"cannot listen on {listen}: ports below 1024 need a privilege") from None
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {listen}: is another server running there? ({error.strerror})"
                f"{_hint(error)}"
            ) from None


def _hint(error: OSError) -> str:
    # Linux gives outgoing connections the ports from 32768 to 60999 as their own.
    if sys.platform != "linux" or error.errno != errno.EADDRINUSE:
        return ""
    return (
        "; or an outgoing connection has that port for a while: keep it out of net.ipv4.ip_local_port_range "
        "by net.ipv4.ip_local_reserved_ports"
    )


def _resolve(host: str, port: int, listen: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(f"cannot listen on {listen}: {host} is no address of this machine") from None
    # IPv4 first: what `localhost` means to most clients.
    family, _, _, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    return family, (str(address[0]), port)
