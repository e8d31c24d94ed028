"""Addresses to listen on: plain text stays on the machine unless somebody says otherwise."""

import ipaddress

from verifier.errors import SettingsError


def require_loopback(listen: str, *, is_insecure: bool) -> None:
    """Raise SettingsError for an address (host:port) beyond loopback, unless `is_insecure`."""
    host, colon, port = listen.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise SettingsError(f"listen: expected HOST:PORT, got {listen}")
    host = host.strip("[]")
    if is_insecure or host == "localhost":
        return
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SettingsError(
            f"listen: {listen} is not a loopback address, and there is no TLS yet: "
            "put a proxy with TLS before it, or say --insecure"
        )
