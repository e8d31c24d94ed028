"""Redis servers that belong together, on this machine: a master with replica and Sentinels, or a Cluster.

Each server is the binary that embedded_redis.find_server finds, dies with its starter, and keeps nothing on
disk but what Sentinels and nodes write about themselves, in folders of their own.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from loadtest.embedded_redis import find_server, free_port
from loadtest.processes import READY_TIMEOUT_S, ProcessError, ServerProcess

SERVICE = "gatelight"
# Of a failure detector that has one machine to itself; in a city's network it is seconds.
DOWN_AFTER_MS = 500
_LOOK_S = 0.05
_SLOTS = 16_384
_PORT_ATTEMPTS = 5


class RedisServer:
    """One server on a port of its own."""

    def __init__(self, folder: Path, name: str, *options: str, is_sentinel: bool = False) -> None:
        """Start it and wait until it answers; `{port}` in options is its port. Raises ProcessError."""
        self.name = name
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._options = options
        self._is_sentinel = is_sentinel
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = free_port()
            try:
                self.start()
                break
            except ProcessError:
                if attempt == _PORT_ATTEMPTS:
                    raise

    @property
    def process(self) -> ServerProcess:
        """The process, which may be gone."""
        return self._process

    @property
    def pid(self) -> int:
        """Its process id; another one after a restart."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start it, again after it was killed, with nothing in it; raises ProcessError."""
        config = self._folder / "redis.conf"
        if not (self._is_sentinel and config.exists()):  # Sentinels remember in it
            lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self._folder}", *self._options, *options]
            config.write_text("\n".join(lines) + "\n")
        command = [find_server(), str(config), *(["--sentinel"] if self._is_sentinel else [])]
        self._process = ServerProcess(self.name, command, folder=self._folder)
        try:
            wait_until(self._answers, f"{self.name} does not answer", self._process)
        except ProcessError:
            self._process.stop()
            raise

    def client(self) -> redis.Redis:
        """Return a client that gives up soon."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, socket_timeout=1, protocol=2, retry=retry)

    def ask(self, *command: str | int) -> Any:
        """Return what it answers; raises redis.RedisError."""
        with self.client() as client:
            return client.execute_command(*command)

    def stop(self) -> None:
        """Stop it, frozen or not: nothing in it is worth a farewell."""
        self._process.kill()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            return int(self.client().info("server")["process_id"]) == self._process.pid
        return False


class _RedisSet:
    """What both have in common: servers that are stopped together."""

    def __init__(self) -> None:
        self.servers: list[RedisServer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all servers."""
        for server in self.servers:
            server.stop()

    def thaw(self) -> None:
        """Let all go on that were frozen."""
        for server in self.servers:
            if server.process.is_running():
                server.process.thaw()

    def _start(self, folder: Path, name: str, *options: str, is_sentinel: bool = False) -> RedisServer:
        server = RedisServer(folder, name, *options, is_sentinel=is_sentinel)
        self.servers.append(server)
        return server


class SentinelSet(_RedisSet):
    """A master, a replica and Sentinels, most of which have to agree on a failover."""

    def __init__(self, folder: Path, *, sentinels: int = 3) -> None:
        """Start them; raises ProcessError."""
        super().__init__()
        options = ("save ''", "appendonly no", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
        self._redis = [self._start(folder, "redis-1", *options)]
        replica_of = f"replicaof 127.0.0.1 {self._redis[0].port}"
        self._redis.append(self._start(folder, "redis-2", *options, replica_of))
        watched = f"sentinel monitor {SERVICE} 127.0.0.1 {self._redis[0].port} {sentinels // 2 + 1}"
        timing = (
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        self.sentinels = [
            self._start(folder, f"sentinel-{number}", watched, *timing, is_sentinel=True)
            for number in range(1, sentinels + 1)
        ]
        self.wait_until_whole()

    @property
    def url(self) -> str:
        """What verifiers and issuers take."""
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{SERVICE}/0"

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self.master.pid

    @property
    def master(self) -> RedisServer:
        """Whom the Sentinels name now; raises ProcessError while they name nobody."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError):
                _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(one for one in self._redis if one.port == int(port))
        raise ProcessError("no Sentinel answers")

    def start_replica(self, server: RedisServer) -> None:
        """Start a server that was killed as the master's replica; raises ProcessError.

        Started as it was, it would take itself for a master until Sentinels tell it, ten seconds later.
        """
        self.wait_for_another_master(server)
        server.start(f"replicaof 127.0.0.1 {self.master.port}")
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return when there is a replica that follows, and all Sentinels know of it; raises ProcessError."""
        wait_until(self._is_whole, "the replica does not follow, or a Sentinel does not know it")

    def wait_for_another_master(self, than: RedisServer) -> None:
        """Return when all Sentinels name another master; raises ProcessError."""
        wait_until(lambda: self._names() and than.port not in self._names(), "no failover")

    def _names(self) -> set[int]:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return {int(one.ask(*command)[1]) for one in self.sentinels}

    def _is_whole(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            (replica,) = (one for one in self._redis if one is not self.master)
            link = replica.client().info("replication")
            others = len(self.sentinels) - 1
            return link.get("master_link_status") == "up" and all(
                _knows(one.ask("SENTINEL", "MASTER", SERVICE), others) for one in self.sentinels
            )
        return False


class ClusterSet(_RedisSet):
    """Masters that share all slots evenly, and replicas."""

    def __init__(self, folder: Path, *, masters: int = 3, replicas: int = 0) -> None:
        """Start them, the first `replicas` masters having one; raises ProcessError."""
        super().__init__()
        options = (
            "save ''",
            "appendonly no",
            "cluster-enabled yes",
            "cluster-node-timeout 1000",
            # Or one node that is gone would take the others' partitions with it.
            "cluster-require-full-coverage no",
            "cluster-replica-validity-factor 0",
            "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1",
        )
        self.masters = [self._start(folder, f"node-{number}", *options) for number in range(1, masters + 1)]
        self.replicas = [
            self._start(folder, f"replica-{number}", *options) for number in range(1, replicas + 1)
        ]
        self._form()

    @property
    def url(self) -> str:
        """What verifiers and issuers take."""
        return f"redis+cluster://{','.join(one.address for one in self.masters)}"

    @property
    def pid(self) -> int:
        """The process id of the first master."""
        return self.masters[0].pid

    def holder(self, key: str) -> RedisServer:
        """Return the server that holds a key; raises ProcessError."""
        for server in self.servers:
            with contextlib.suppress(redis.RedisError):
                slot = server.ask("CLUSTER", "KEYSLOT", key)
                for first, last, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(one for one in self.servers if one.port == port)
        raise ProcessError("nobody holds it")

    def move(self, key: str, to: RedisServer, *, pause_s: float = 0.0) -> None:
        """Move the slot of a key, with all that is in it, key by key, `pause_s` after each.

        Raises redis.RedisError.
        """
        for _ in self.move_in_steps(key, to):
            time.sleep(pause_s)

    def move_in_steps(self, key: str, to: RedisServer) -> Iterator[None]:
        """Do the same, with a step for each key in the slot, and one for the rest."""
        holder = self.holder(key)
        slot = holder.ask("CLUSTER", "KEYSLOT", key)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(holder))
        holder.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(to))
        while keys := holder.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            holder.ask("MIGRATE", "127.0.0.1", to.port, keys[0], 0, 5000)
            yield
        for server in (to, holder, *(one for one in self.masters if one not in (to, holder))):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", _id(to))

    def wait_until_whole(self) -> None:
        """Return when all slots are held, by nodes that all others know, and replicas follow."""
        wait_until(self._is_whole, "the Cluster does not come to be whole")

    def _form(self) -> None:
        first, *others = self.servers
        for number, master in enumerate(self.masters):
            begin, end = (_SLOTS * at // len(self.masters) for at in (number, number + 1))
            master.ask("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in others:
            server.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
        wait_until(lambda: all(self._knows_all(one) for one in self.servers), "nodes do not meet")
        for replica, master in zip(self.replicas, self.masters, strict=False):
            replica.ask("CLUSTER", "REPLICATE", _id(master))
        self.wait_until_whole()

    def _knows_all(self, server: RedisServer) -> bool:
        nodes: bytes = server.ask("CLUSTER", "NODES")
        return nodes.count(b" connected") >= len(self.servers)

    def _is_whole(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return all(_is_whole(server) for server in self.servers)
        return False


def wait_until(holds: Callable[[], object], otherwise: str, process: ServerProcess | None = None) -> None:
    """Return when something holds; raises ProcessError when it takes too long, or the process ends."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline or (process is not None and not process.is_running()):
            raise ProcessError(otherwise + (f":\n{process.tail()}" if process is not None else ""))
        time.sleep(_LOOK_S)


def _knows(said: Sequence[bytes], other_sentinels: int) -> bool:
    """Tell whether a Sentinel knows the replica and the other Sentinels."""
    of_master = dict(zip(said[::2], said[1::2], strict=True))
    return of_master[b"num-slaves"] != b"0" and int(of_master[b"num-other-sentinels"]) == other_sentinels


def _is_whole(server: RedisServer) -> bool:
    with server.client() as client:
        info: bytes = client.execute_command("CLUSTER", "INFO")
        link = client.info("replication").get("master_link_status", "up")
        is_held = b"cluster_state:ok" in info and f"cluster_slots_ok:{_SLOTS}".encode() in info
        return bool(is_held and link == "up")


def _id(server: RedisServer) -> str:
    found: bytes = server.ask("CLUSTER", "MYID")
    return found.decode()
