"""What is measured: cities in Redis, and the servers, each started when it is first asked for."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.bench.loads import Loads
from loadtest.bench.running import EmptyServer, RunningBaseline, RunningVerifier
from loadtest.city import City
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.stage import Stage

SMALL, MIDDLE, LARGE = 10_000, 1_000_000, 25_000_000
# Databases of one Redis.
_DATABASES = {SMALL: 0, MIDDLE: 1, LARGE: 2}
_NAIVE_DATABASE = 3


class Setting:
    """Servers and cities of one run; all of it ends with the `with`."""

    def __init__(self, folder: Path, engines: Sequence[str]) -> None:
        """`engines` are those that this machine can run, the best one last."""
        self.folder = folder
        self.engines = engines
        self._stack = ExitStack()
        self._cities: dict[int, City] = {}
        self._loads: dict[int, Loads] = {}
        self._verifiers: dict[tuple[int, str, int], RunningVerifier] = {}
        self._empty: dict[str, EmptyServer] = {}
        self._naive: RunningBaseline | None = None
        self._redis = EmbeddedRedis(folder)
        self._stack.callback(self._redis.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def best(self) -> str:
        """The engine for production, or the only one."""
        return self.engines[-1]

    def city(self, credentials: int = SMALL) -> City:
        """Return a city, all green."""
        if credentials not in self._cities:
            city = City(
                self._redis_url(_DATABASES[credentials]),
                folder=self.subfolder(f"city-{credentials}"),
                credentials=credentials,
            )
            self._stack.enter_context(city.heartbeats())
            self._cities[credentials] = city
        return self._cities[credentials]

    def loads(self, credentials: int = SMALL) -> Loads:
        """Return what a city shows at its gates."""
        if credentials not in self._loads:
            self._loads[credentials] = Loads(self.city(credentials), folder=self.folder)
        return self._loads[credentials]

    def verifier(self, engine: str, *, workers: int = 1, credentials: int = SMALL) -> RunningVerifier:
        """Return a verifier of a city, running from the first time on."""
        key = (credentials, engine, workers)
        if key not in self._verifiers:
            context = self.started(engine, workers=workers, credentials=credentials)
            self._verifiers[key] = self._stack.enter_context(context)
        return self._verifiers[key]

    @contextmanager
    def started(self, engine: str, *, workers: int, credentials: int) -> Iterator[RunningVerifier]:
        """Start a verifier for a moment; raises ProcessError."""
        city = self.city(credentials)
        verifier = RunningVerifier(city, engine=engine, workers=workers, folder=self.folder)
        try:
            yield verifier
        finally:
            verifier.process.stop()

    def verifiers(self) -> Mapping[str, RunningVerifier]:
        """Return a verifier of one worker on each engine, by engine."""
        return {engine: self.verifier(engine) for engine in self.engines}

    def naive(self) -> RunningBaseline:
        """Return the naive verifier of the small city."""
        if self._naive is None:
            url = self._redis_url(_NAIVE_DATABASE)
            self._naive = RunningBaseline(self.city(), redis_url=url, folder=self.folder)
            self._stack.callback(self._naive.process.stop)
        return self._naive

    def empty(self, engine: str) -> EmptyServer:
        """Return a server on that engine that does nothing, with the verifier's settings, or STOCK."""
        if engine not in self._empty:
            self._empty[engine] = EmptyServer(engine, folder=self.folder)
            self._stack.callback(self._empty[engine].process.stop)
        return self._empty[engine]

    def stage(self) -> Stage:
        """Start a Redis and an issuer, which lets one person enter a thousand residents."""
        stage = Stage(self.subfolder("stage"), issuer_options=("--second-person-above", "1000000"))
        self._stack.callback(stage.close)
        return stage

    def subfolder(self, name: str) -> Path:
        """Return a new folder."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _redis_url(self, database: int) -> str:
        return f"{self._redis.url.removesuffix('/0')}/{database}"
