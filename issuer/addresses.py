"""Addresses of an issuer: HOST:PORT, or unix: and the path of a socket."""

import ipaddress
import os
import urllib.parse
from pathlib import Path

from issuer.errors import SettingsError

_UNIX = "unix:"
# sun_path has 108 bytes (unix(7)), and the last one is a NUL.
_MAX_SOCKET_PATH_BYTES = 107


def socket_address(path: Path) -> str:
    """Return the address of a Unix socket, as gRPC reads it: a URI, in which names are percent-encoded."""
    return _UNIX + urllib.parse.quote(os.fsencode(path))


def require_socket_path(path: Path) -> None:
    """Raise SettingsError for a path that the kernel would not take."""
    length = len(os.fsencode(path))
    if length > _MAX_SOCKET_PATH_BYTES:
        raise SettingsError(
            f"the path of the socket has {length} bytes, and a socket's may have {_MAX_SOCKET_PATH_BYTES}: "
            f"choose a shorter --folder than {path.parent}"
        )


def is_socket(address: str) -> bool:
    """Return whether it is the address of a Unix socket."""
    return address.startswith(_UNIX)


def is_local(address: str) -> bool:
    """Return whether only this machine can be at the other end: a Unix socket, or loopback."""
    if is_socket(address):
        return True
    host = host_of(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """Return the host of HOST:PORT, without the brackets of an IPv6 one."""
    return address.rpartition(":")[0].strip("[]")


def require_sound(address: str, option: str) -> None:
    """Raise SettingsError unless the text is HOST:PORT."""
    host, colon, port = address.rpartition(":")
    is_bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not (host and colon and port.isdecimal() and int(port) < 1 << 16) or "/" in host or is_bare_ipv6:
        raise SettingsError(f"--{option.replace('_', '-')}: expected HOST:PORT, got {address}")
