"""What can go wrong between several Redis servers: a failover, a node that is gone, a slot that moves.

In a Cluster the status is in several partitions, of which a node holds one or two; verifiers read them all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from loadtest.city import GATE_ID, City
from loadtest.office import CREDENTIALS, CityOffice
from loadtest.outages.fault import Fault
from loadtest.outages.scene import Scene, running
from loadtest.outages.signs import above, any_of, in_trouble
from loadtest.process_tree import Running
from loadtest.redis_sets import ClusterSet, RedisServer, SentinelSet
from verifier.wire.status_store import epoch_key

PARTITIONS = 4
# Older than any heartbeat, which comes every second.
_SILENCE_S = 2.5
# So that gates scan while a slot is in halves.
_PAUSE_A_KEY_S = 0.05

_Set = TypeVar("_Set", SentinelSet, ClusterSet)


class SetOffice(CityOffice):
    """A city whose Redis is more than one server; none of them is `redis`."""

    def __init__(self, city: City, redis_set: SentinelSet | ClusterSet) -> None:
        self.city = city
        self.redis_set = redis_set
        self.gate_id, self.gate_key = GATE_ID, city.gate_key
        self.root_key = city.root_file

    @property
    def servers(self) -> Mapping[str, Running]:
        """All servers, by name."""
        return {server.name: server for server in self.redis_set.servers}


class SetScene(Scene):
    """Verifiers that ask several servers."""

    def __init__(self, office: SetOffice, *, folder: Path, engines: Sequence[str], partitions: int) -> None:
        super().__init__(
            office,
            folder=folder,
            engines=engines,
            redis_url=office.redis_set.url,
            options=["--partitions", str(partitions)],
        )
        self.redis_set = office.redis_set
        self.struck: RedisServer | None = None

    def close(self) -> None:
        """Stop the verifiers; the office is its owner's to close."""
        self.redis_set.thaw()
        for verifier in reversed(self.verifiers):
            verifier.process.stop()


@contextmanager
def sentinel_scene(
    folder: Path, *, engines: Sequence[str], credentials: int = CREDENTIALS
) -> Iterator[Scene]:
    """Set up a master, a replica and three Sentinels, a city and verifiers; raises ProcessError."""
    with SentinelSet(folder / "sentinel") as redis_set:
        yield from _scene(redis_set, folder, engines=engines, credentials=credentials, partitions=1)


@contextmanager
def cluster_scene(folder: Path, *, engines: Sequence[str], credentials: int = CREDENTIALS) -> Iterator[Scene]:
    """Set up a Cluster of three masters, the first one with a replica, a city and verifiers."""
    with ClusterSet(folder / "cluster", replicas=1) as redis_set:
        yield from _scene(redis_set, folder, engines=engines, credentials=credentials, partitions=PARTITIONS)


def _scene(
    redis_set: SentinelSet | ClusterSet,
    folder: Path,
    *,
    engines: Sequence[str],
    credentials: int,
    partitions: int,
) -> Iterator[Scene]:
    city = City(redis_set.url, folder=folder, credentials=credentials, is_mixed=True, partitions=partitions)
    with city.heartbeats():
        office = SetOffice(city, redis_set)
        with running(SetScene(office, folder=folder, engines=engines, partitions=partitions)) as here:
            yield here


def _on(kind: type[_Set], do: Callable[[SetScene, _Set], object]) -> Callable[[Scene], object]:
    """Return what a fault does to a set of that kind, as it is said of any scene."""

    def done(scene: Scene) -> object:
        if not isinstance(scene, SetScene) or not isinstance(scene.redis_set, kind):
            raise TypeError(f"expected a scene with a {kind.__name__}")
        return do(scene, scene.redis_set)

    return done


def _struck(scene: SetScene) -> RedisServer:
    if scene.struck is None:
        raise TypeError("nothing was struck")
    return scene.struck


def _kill_master(scene: SetScene, sentinels: SentinelSet) -> None:
    scene.struck = sentinels.master
    scene.struck.process.kill()


def _freeze_master(scene: SetScene, sentinels: SentinelSet) -> None:
    scene.struck = sentinels.master
    scene.struck.process.freeze()


def _start_again(scene: SetScene, sentinels: SentinelSet) -> None:
    sentinels.start_replica(_struck(scene))


def _thaw_again(scene: SetScene, sentinels: SentinelSet) -> None:
    """Let the old master go on, which takes itself for one until it is told: by us, ten seconds sooner."""
    sentinels.wait_for_another_master(_struck(scene))
    _struck(scene).process.thaw()
    _struck(scene).ask("REPLICAOF", "127.0.0.1", sentinels.master.port)
    sentinels.wait_until_whole()


def _kill_holder(partition: int) -> Callable[[SetScene, ClusterSet], None]:
    def kill(scene: SetScene, cluster: ClusterSet) -> None:
        scene.struck = cluster.holder(epoch_key(partition))
        scene.struck.process.kill()

    return kill


def _start_node(scene: SetScene, cluster: ClusterSet) -> None:
    _struck(scene).start()
    cluster.wait_until_whole()


def _move_slot(scene: SetScene, cluster: ClusterSet) -> None:
    key = epoch_key(_MOVED)
    scene.struck = cluster.holder(key)
    cluster.move(key, cluster.holder(epoch_key(_ALONE)), pause_s=_PAUSE_A_KEY_S)


def _move_back(scene: SetScene, cluster: ClusterSet) -> None:
    cluster.move(epoch_key(_MOVED), _struck(scene), pause_s=_PAUSE_A_KEY_S)


# Where hash tags come to lie when three nodes share all slots evenly: {3} on the first, which has a replica,
# {1} and {2} on the second, {0} on the third.
_WITH_REPLICA, _MOVED, _ALONE = 3, 1, 0

_IS_CUT_OFF = any_of(in_trouble("mirror"), above("status_age_seconds", _SILENCE_S))

FAULTS: Sequence[Fault] = (
    Fault(
        "sentinel-failover",
        "the master is killed, and Sentinels make its replica the master",
        _on(SentinelSet, _kill_master),
        _on(SentinelSet, _start_again),
        sign=_IS_CUT_OFF,
        needs=sentinel_scene,
    ),
    Fault(
        "sentinel-master-frozen",
        "the master answers nothing, its connections stay open, and it comes back as a replica",
        _on(SentinelSet, _freeze_master),
        _on(SentinelSet, _thaw_again),
        sign=_IS_CUT_OFF,
        needs=sentinel_scene,
    ),
    Fault(
        "cluster-slots-moved",
        "the slot of a partition moves to another node, key by key, and back",
        _on(ClusterSet, _move_slot),
        _on(ClusterSet, _move_back),
        needs=cluster_scene,
    ),
    Fault(
        "cluster-failover",
        "a node of three is killed, and its replica takes over",
        _on(ClusterSet, _kill_holder(_WITH_REPLICA)),
        _on(ClusterSet, _start_node),
        sign=_IS_CUT_OFF,
        needs=cluster_scene,
    ),
    Fault(
        "cluster-node-killed",
        "a node of three is killed, nobody takes over, and it comes back empty",
        _on(ClusterSet, _kill_holder(_ALONE)),
        _on(ClusterSet, _start_node),
        sign=_IS_CUT_OFF,
        needs=cluster_scene,
    ),
)
