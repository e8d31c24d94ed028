"""What stands behind the verifiers of a town: Redis, and who writes the status there and signs.

Either a city without an issuer, which is there within a second and can change its key and its epoch at will,
or a whole issuer, as in production.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.progress import Progress

from issuer.v1 import cache_pb2, gates_pb2
from loadtest.city import GATE_ID, City
from loadtest.corpus_city import corpus_of_city
from loadtest.corpus_issuer import IssuerRefused, TooManyCodes, corpus_of_issuer
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.process_tree import Running
from loadtest.processes import ProcessError
from loadtest.stage import Stage, stage
from verifier.bearer import hash_key, make_key

CREDENTIALS = 1_000_000
# Each has another code every 30 s, and the whole is there within ten seconds.
MOST_HOLDERS = 5_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A corpus."""

    codes: int
    mix: Mapping[str, int]
    good_for_s: float
    keys: int = 1  # whose codes are in it


class Office(Protocol):
    """Redis and who writes there."""

    gate_id: str
    gate_key: str
    root_key: Path
    redis: EmbeddedRedis

    @property
    def servers(self) -> Mapping[str, Running]:
        """What runs, by name."""

    def write_corpus(self, path: Path, wanted: Wanted, progress: Progress) -> None:
        """Write scans of what people here hold; raises ProcessError."""

    def start_redis(self) -> None:
        """Start Redis after it was killed, empty, and have everything written anew."""

    def publish_next_key(self) -> None:
        """Put the key into the key set that the crowd will change to; raises ProcessError."""

    def new_epoch(self) -> None:
        """Write the whole status anew, as a rebuild does."""


class CityOffice:
    """A city without an issuer."""

    def __init__(self, city: City, redis: EmbeddedRedis) -> None:
        self.city = city
        self.redis = redis
        self.gate_id, self.gate_key = GATE_ID, city.gate_key
        self.root_key = city.root_file

    @property
    def servers(self) -> Mapping[str, Running]:
        """Redis."""
        return {"redis": self.redis}

    def write_corpus(self, path: Path, wanted: Wanted, progress: Progress) -> None:
        """Sign codes of anybody."""
        corpus_of_city(
            self.city.file,
            path,
            codes=wanted.codes,
            seconds=wanted.good_for_s,
            mix=wanted.mix,
            keys=wanted.keys,
            progress=progress,
        )

    def start_redis(self) -> None:
        """Start Redis and write everything anew."""
        self.redis.restart()
        self.city.rebuild()

    def publish_next_key(self) -> None:
        """Publish the city's second key."""
        self.city.publish_next_key()

    def new_epoch(self) -> None:
        """Write the whole status anew."""
        self.city.new_epoch()


class IssuerOffice:
    """A real issuer, with a gate on its list."""

    def __init__(self, running: Stage) -> None:
        if not isinstance(running.redis, EmbeddedRedis):
            raise ProcessError("a town needs a Redis of its own: unset GATELIGHT_REDIS_URL")
        self.stage = running
        self.redis = running.redis
        self.root_key = running.issuer_folder.root_public_key
        self.gate_id, self.gate_key = "load", make_key()
        credential = gates_pb2.GateCredential(bearer_key_sha256=hash_key(self.gate_key))
        with running.client() as operator:
            operator.gates.AddGroup(gates_pb2.AddGroupRequest(name="load"))
            gate = gates_pb2.AddGateRequest(gate_id=self.gate_id, group="load", credential=credential)
            operator.gates.AddGate(gate)

    @property
    def servers(self) -> Mapping[str, Running]:
        """Redis and the issuer."""
        issuer = self.stage.issuer
        return {"redis": self.redis, **({"issuer": issuer} if issuer else {})}

    def write_corpus(self, path: Path, wanted: Wanted, progress: Progress) -> None:
        """Enrol people, MOST_HOLDERS at most, and fetch their bundles."""
        holders = min(wanted.codes, MOST_HOLDERS)
        try:
            with self.stage.staff() as staff:
                corpus_of_issuer(
                    staff,
                    path,
                    holders=holders,
                    seconds=wanted.good_for_s,
                    mix=wanted.mix,
                    progress=progress,
                )
        except (IssuerRefused, TooManyCodes) as error:
            raise ProcessError(str(error)) from None

    def start_redis(self) -> None:
        """Start Redis: the issuer notices by itself, and rebuilds."""
        self.redis.restart()

    def publish_next_key(self) -> None:
        """Refuse: codes of the next key have to be in the corpus before the issuer makes that key."""
        raise ProcessError("keys of an issuer rotate by themselves: python -m loadtest rotations")

    def new_epoch(self) -> None:
        """Have the issuer rebuild."""
        with self.stage.client() as operator:
            for _progress in operator.cache.RebuildCache(cache_pb2.RebuildCacheRequest()):
                pass


@contextmanager
def city_office(folder: Path, *, credentials: int = CREDENTIALS) -> Iterator[CityOffice]:
    """Set up Redis and a city; raises ProcessError."""
    with EmbeddedRedis(folder) as redis:
        city = City(redis.url, folder=folder, credentials=credentials, is_mixed=True)
        with city.heartbeats():
            yield CityOffice(city, redis)


@contextmanager
def issuer_office(folder: Path) -> Iterator[IssuerOffice]:
    """Set up Redis and an issuer; raises ProcessError."""
    with stage(folder) as running:
        yield IssuerOffice(running)
