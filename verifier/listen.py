"""Addresses: what is on this machine alone, where plain text is no danger."""

import ipaddress

from verifier.errors import SettingsError


def is_local(address: str) -> bool:
    """Return whether only this machine can be at the other end of HOST:PORT: loopback, or a Unix socket."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local_target(target: str) -> bool:
    """Return whether only this machine can be at the other end of a name of gRPC's: of all its addresses."""
    scheme, colon, addresses = target.partition(":")
    if colon and scheme in ("ipv4", "ipv6"):
        return all(map(is_local, addresses.split(",")))
    return is_local(target)


def require_address(listen: str, option: str) -> None:
    """Raise SettingsError unless the text is HOST:PORT, an IPv6 address being in brackets."""
    host, colon, port = listen.rpartition(":")
    is_bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    is_port = port.isascii() and port.isdecimal() and int(port) < 1 << 16
    if not (host and colon and is_port) or is_bare_ipv6:
        raise SettingsError(f"--{option}: expected HOST:PORT, got {listen}")


def require_loopback(listen: str) -> None:
    """Raise SettingsError for an address (HOST:PORT) beyond this machine."""
    if not is_local(listen):
        raise SettingsError(
            f"--listen: {listen} is not a loopback address: give --tls-certificate and --tls-key, or put a "
            "proxy with TLS before it and say --insecure"
        )
