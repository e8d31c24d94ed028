"""Where to connect to: the master that Sentinels name, or the node of a Cluster that holds a key.

A guide is asked by connections (verifier/redis_connection.py). Sentinels are asked again every two seconds,
since a master that was cut off from them goes on answering, with the status that it had. A Cluster tells by
itself: its nodes refuse what they do not hold, and say who does.

Whoever is asked has a quarter of a second to take the connection, and as long again for each reply; a second
after the first question nobody else is asked, so silent ones cost the caller a second and a half at most, and
those who want to know the same meanwhile wait with it, and hear what it heard. Looking up a name is not in
it: that takes as long as the system lets it, and addresses are the safer choice.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS

from verifier.redis_url import Address

ASK_TIMEOUT_S = 0.25
_ALL_ASKED_S = 1.0
# How long somebody goes on with a master that another one has replaced unseen.
_CHECK_S = 2.0
# While Sentinels are away, the master that they named last is asked, and they are left alone for so long.
_CHECK_AGAIN_S = 10.0
# Of a Cluster with hundreds of nodes, as many are remembered as places to ask.
_MOST_NODES = 32

# Makes a client for one question to the server there.
Asking = Callable[[Address], redis.Redis]


class Guide(Protocol):
    """Tells connections where to go. Threads share it."""

    def address(self) -> Address:
        """Return where to connect to; asks if that is not known. Raises redis.RedisError."""

    def is_current(self, address: Address) -> bool:
        """Tell whether a connection to `address` is still right; may ask, but never raises."""

    def may_use(self, address: Address) -> bool:
        """Tell the same from what is known, and never ask."""

    def lost(self, address: Address) -> None:
        """Somebody could not use what is there: ask anew before the next connection."""

    def moved(self, slot: int, to: Address) -> None:
        """A node said so."""


class NoMaster(redis.ConnectionError):
    """Nobody can say where the master, or the node, is."""


class MasterGuide:
    """The master of a service, by its Sentinels."""

    def __init__(
        self,
        sentinels: Sequence[Address],
        service: str,
        ask: Asking,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Whom to ask: the one that answered last comes first, until what it named turns out to be wrong.
        self._clients = [ask(one) for one in sentinels]
        self._service = service
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._master: Address | None = None
        self._is_misled = False
        self._check_at_s = 0.0
        self._failed_at_s = 0.0

    def address(self) -> Address:
        """Return the master; raises NoMaster."""
        if (known := self._master) is not None:
            return known
        came_at_s = self._monotonic()
        with self._asking:
            if self._master is None:
                if came_at_s < self._failed_at_s:  # somebody asked while we waited for our turn
                    raise self._no_master()
                try:
                    self._master = self._named(_ALL_ASKED_S)
                except NoMaster:
                    self._failed_at_s = self._monotonic()
                    raise
            return self._master

    def is_current(self, address: Address) -> bool:
        """Tell whether it is the master, as check() knows."""
        self.check()
        return self.may_use(address)

    def check(self) -> None:
        """Ask from time to time, one caller for all; a Sentinel that is away changes nothing."""
        if self._monotonic() >= self._check_at_s and self._asking.acquire(blocking=False):
            try:
                self._master = self._named(ASK_TIMEOUT_S)
            except NoMaster:
                self._check_at_s = self._monotonic() + _CHECK_AGAIN_S
            finally:
                self._asking.release()

    def may_use(self, address: Address) -> bool:
        """Tell whether it is the master, as far as we know."""
        return self._master in (address, None)

    def lost(self, address: Address) -> None:
        """Ask who is the master now, and another Sentinel first: this one may be cut off from the rest."""
        if self._master == address:
            self._is_misled, self._master = True, None

    def moved(self, slot: int, to: Address) -> None:
        """Nothing moves here."""

    def _named(self, within_s: float) -> Address:
        ends_at_s = self._monotonic() + within_s
        if self._is_misled:
            self._is_misled = False
            self._clients.append(self._clients.pop(0))
        for client in tuple(self._clients):
            with contextlib.suppress(redis.RedisError):
                found: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)  # type: ignore[no-untyped-call]
                match found:
                    case [bytes(host), bytes(port)] if port.isdigit():  # whatever else answers is no Sentinel
                        self._check_at_s = self._monotonic() + _CHECK_S
                        return Address(host.decode(errors="replace"), int(port))
            self._clients.append(self._clients.pop(0))
            if self._monotonic() >= ends_at_s:
                break
        raise self._no_master()

    def _no_master(self) -> NoMaster:
        return NoMaster(f"no Sentinel names a master of {self._service}")


class ClusterMap:
    """Which node holds which slot."""

    def __init__(
        self, nodes: Sequence[Address], ask: Asking, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._named = nodes
        # Whom to ask. Whoever was asked is the last from then on: where a map is read anew, it led nowhere.
        self._nodes: Sequence[Address] = nodes
        self._silent: set[Address] = set()  # which are asked after all others
        self._ask = ask
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._holders: list[Address | None] = [None] * SLOTS
        self._is_stale = True
        self._failed_at_s = 0.0

    def holder(self, slot: int) -> Address:
        """Return the node that holds a slot; asks if the map is stale. Raises NoMaster."""
        self.refresh()
        if (found := self._holders[slot]) is None:
            self._is_stale = True
            raise NoMaster(f"no node of the Cluster holds slot {slot}")
        return found

    def known(self, slot: int) -> Address | None:
        """Return the node that held it when we heard of it last."""
        return self._holders[slot]

    def known_masters(self) -> Collection[Address]:
        """Return all nodes that held slots when we heard of them last."""
        return {one for one in self._holders if one is not None}

    def masters(self) -> Sequence[Address]:
        """Return all nodes that hold slots; raises NoMaster."""
        self.refresh()
        return sorted(self.known_masters())

    def lost(self) -> None:
        """Somebody could not use a node."""
        self._is_stale = True

    def moved(self, slot: int, to: Address) -> None:
        """A node said where a slot is, which the others may not have heard of yet. Never waits."""
        # Without a lock: where a new map comes at the same moment, the node says it once more.
        if slot in range(SLOTS):
            self._holders[slot] = to

    def refresh(self) -> None:
        """Ask for the whole map if it is stale; raises NoMaster."""
        if not self._is_stale:
            return
        came_at_s = self._monotonic()
        with self._asking:
            if self._is_stale:
                if came_at_s < self._failed_at_s:  # somebody asked while we waited for our turn
                    raise NoMaster("no node of the Cluster answers")
                try:
                    self._read()
                except NoMaster:
                    self._failed_at_s = self._monotonic()
                    raise
                self._is_stale = False

    def _read(self) -> None:
        """Take the first map that has all slots, or the one that has most.

        A node that lost its memory, or was taken out of the Cluster, answers with an empty map.
        """
        ends_at_s = self._monotonic() + _ALL_ASKED_S
        best: _Slots | None = None
        for address in sorted(self._nodes, key=self._silent.__contains__):
            self._nodes = [*(one for one in self._nodes if one != address), address]
            try:
                with self._ask(address) as client:
                    slots = _Slots.read(client.execute_command("CLUSTER", "SLOTS"), address)
            except redis.RedisError:
                self._silent.add(address)
            else:
                self._silent.discard(address)
                best = slots if best is None or slots.count > best.count else best
            if (best is not None and best.count == SLOTS) or self._monotonic() >= ends_at_s:
                break
        if best is None or best.count == 0:
            raise NoMaster("no node of the Cluster answers" if best is None else "the nodes hold no slot")
        self._take(best)

    def _take(self, slots: "_Slots") -> None:
        self._holders = slots.holders
        heard_of = dict.fromkeys((*slots.nodes, *self._named))
        asked = [one for one in self._nodes if one in heard_of]
        self._nodes = [*(one for one in heard_of if one not in asked), *asked][-_MOST_NODES:]
        self._silent.intersection_update(self._nodes)


@dataclass(frozen=True, slots=True)
class _Slots:
    """What one node says of a Cluster."""

    holders: list[Address | None]  # by slot
    nodes: Sequence[Address]  # replicas as well, each once
    count: int  # of the slots that somebody holds

    @classmethod
    def read(cls, ranges: Any, asked: Address) -> "_Slots":
        """Read the reply to CLUSTER SLOTS of the node that was asked."""
        holders: list[Address | None] = [None] * SLOTS
        nodes: dict[Address, None] = {}  # a set that keeps its order
        for first, last, *servers in ranges:
            addresses = [_address(server, asked) for server in servers]
            nodes |= dict.fromkeys(addresses)
            holders[first : last + 1] = [addresses[0]] * (last + 1 - first)
        return cls(holders, list(nodes), SLOTS - holders.count(None))


class SlotGuide:
    """The node that holds one slot."""

    def __init__(self, cluster: ClusterMap, slot: int) -> None:
        self._cluster = cluster
        self._slot = slot

    def address(self) -> Address:
        """Return the node; raises NoMaster."""
        return self._cluster.holder(self._slot)

    def is_current(self, address: Address) -> bool:
        """Tell whether it is there, as far as we know."""
        return self.may_use(address)

    def may_use(self, address: Address) -> bool:
        """Tell the same."""
        return self._cluster.known(self._slot) == address

    def lost(self, address: Address) -> None:  # noqa: ARG002
        """Ask who holds what."""
        self._cluster.lost()

    def moved(self, slot: int, to: Address) -> None:
        """Remember it."""
        self._cluster.moved(slot, to)


class NodeGuide:
    """One node of a Cluster, whatever it holds."""

    def __init__(self, cluster: ClusterMap, node: Address) -> None:
        self._cluster = cluster
        self._node = node

    def address(self) -> Address:
        """Return the node."""
        return self._node

    def is_current(self, address: Address) -> bool:  # noqa: ARG002
        """It always is."""
        return True

    def may_use(self, address: Address) -> bool:  # noqa: ARG002
        """It always is."""
        return True

    def lost(self, address: Address) -> None:  # noqa: ARG002
        """Ask who holds what."""
        self._cluster.lost()

    def moved(self, slot: int, to: Address) -> None:
        """Remember it."""
        self._cluster.moved(slot, to)


def _address(server: Any, asked: Address) -> Address:
    host, port = server[:2]
    # A node that does not know its own name is where we asked.
    return Address(host.decode() if host and host != b"?" else asked.host, int(port) or asked.port)
