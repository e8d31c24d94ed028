"""Failed authentications by address: a token bucket each, in the memory of this process."""

import ipaddress
import math
import threading
import urllib.parse
from collections.abc import Callable

_PER_MINUTE = 10
_S_PER_ATTEMPT = 60 / _PER_MINUTE
# Beyond that the address that failed longest ago is forgotten; its bucket was the likeliest to be full.
_MAX_ADDRESSES = 4_096
# What one household or machine has of IPv6; a bucket for each address of it would limit nothing.
_IPV6_NETWORK_BITS = 64


class Attempts:
    """Ten a minute from each address. Threads share it."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        # When the bucket of an address is full again: a bucket in one number. In the order of last use.
        self._full_at: dict[str, float] = {}

    def take(self, peer: str) -> int:
        """Count an attempt of a peer (gRPC's text); return 0, or for how many seconds there are too many."""
        address = address_of(peer)
        now = self._clock()
        with self._lock:
            # A clock that was set back must not lock an address out for longer than a whole bucket.
            full_at = min(max(self._full_at.pop(address, now), now), now + 60)
            is_allowed = full_at + _S_PER_ATTEMPT <= now + 60
            self._full_at[address] = full_at + _S_PER_ATTEMPT if is_allowed else full_at
            if len(self._full_at) > _MAX_ADDRESSES:
                self._full_at.pop(next(iter(self._full_at)))
        return 0 if is_allowed else max(1, math.ceil(full_at + _S_PER_ATTEMPT - 60 - now))


def address_of(peer: str) -> str:
    """Return what shares one bucket: the address without its port, the network for IPv6, or the socket."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return kind
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
