"""A worker, whatever engine hosts it: the parts that answer scans, made by its configuration, and its tick.

An engine makes one, calls `tick` ten times a second from when it answers calls, and `close` at the end:

    config = inherited_config()
    die_with_supervisor(config.life_fd)
    worker = Worker(config, set_serving=...)
    worker.prepare()   last before it listens
    ... listen, answer calls by worker.calls ...
    worker.tick()      again and again, in one thread or task
    worker.drain()     when it is told to finish
    worker.close()     when the last call is answered

The tick takes what the supervisor has published, tells health, and gives the sign of life without which the
supervisor ends the worker. It reads and writes memory alone and never raises.
"""

import contextlib
import os
import time
from collections.abc import Callable

import structlog

from verifier.access.entries import Entries
from verifier.access.gatekeeper import ListGatekeeper
from verifier.boot_clock import boot_time_s
from verifier.calls import Calls
from verifier.counters import Counters
from verifier.host.documents import Document
from verifier.host.key_set_document import unpack
from verifier.host.rows import Phase
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedMirror
from verifier.host.steady_clock import SteadyClock
from verifier.host.worker_config import WorkerConfig
from verifier.journal.journal import Journal
from verifier.key_set_follower import KeySets
from verifier.known_codes import KnownCodes
from verifier.service import Verifier
from verifier.trouble import Part
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import WireError

TICK_S = 0.1
# A second: what fails for good may be long to read.
_LOOKS_BETWEEN_TRIES = 9

_log = structlog.get_logger("verifier")


class Worker:
    """The parts of one worker."""

    def __init__(self, config: WorkerConfig, *, set_serving: Callable[[bool], None] = lambda _: None) -> None:
        """Build them; `set_serving` is told by `tick` whenever health changes, NOT_SERVING being the first.

        Raises SharedMemoryError when the supervisor is of another release, and OSError when the run folder
        cannot be used.
        """
        self.config = config
        self.set_serving = set_serving
        shared = SharedMemory.attach(config.shared_fd)
        self._row = shared.rows[config.number]
        self._row.pid, self._row.phase = os.getpid(), Phase.STARTING
        self._key_sets = KeySets(VerifyingKey(config.root_public_key))
        clock = SteadyClock(shared.clock_lead)
        self._gatekeeper = ListGatekeeper(gate_auth=config.gate_auth, policy=config.policy, clock=clock)
        self._entries = Entries.open(
            redis_url=config.redis_url,
            run_folder=config.run_folder,
            number=config.number,
            workers=config.max_workers,
            counters=self._row.counters,
        )
        self._journal: Journal | None = None
        if config.journal is not None:
            self._journal = Journal(
                config.journal,
                limit_bytes=config.journal_limit_bytes,
                counters=self._row.counters,
                worker=config.number,
            )
        self.calls = Calls(
            verifier=Verifier(
                key_sets=self._key_sets,
                mirror=SharedMirror(shared, monotonic=boot_time_s),
                clock=clock,
                known_codes=_known_codes(config.limits.known_codes, self._row.counters),
            ),
            gatekeeper=self._gatekeeper,
            entries=self._entries,
            journal=self._journal,
            counters=self._row.counters,
        )
        self._documents = (
            _Watched(shared.key_sets, self._take_key_sets, Part.KEY_SET),
            _Watched(shared.gate_list, self._gatekeeper.take, Part.GATE_LIST),
        )
        self._missing: str | None = "nothing was checked yet"
        # What is published already holds from the first call on.
        self._take_documents()

    @property
    def is_to_drain(self) -> bool:
        """Whether the supervisor wants the worker to finish; an engine that gets no signal asks this."""
        return self._row.is_to_drain

    def prepare(self) -> None:
        """Take what was published meanwhile and tell health, before the first call can come.

        The supervisor does not hear of it: it takes a worker that ticks for one that answers.
        """
        self._take_documents()
        self.set_serving(self._what_is_missing() is None)

    def tick(self) -> None:
        """Do what is to be done ten times a second."""
        self._take_documents()
        if self._row.phase is not Phase.DRAINING:
            self._tell_health()
        self._row.heartbeat_s = time.monotonic()

    def drain(self) -> None:
        """Note that the worker finishes; the engine has stopped to take new calls, or is about to."""
        self._row.phase = Phase.DRAINING

    def close(self) -> None:
        """Let go of the journal's segment, so that it can be shipped, and of Redis."""
        self._entries.close()
        if self._journal is not None:
            self._journal.close()

    def _take_documents(self) -> None:
        for document in self._documents:
            document.look()

    def _take_key_sets(self, content: bytes) -> None:
        for signed in unpack(content):
            # Those that we have are older than our newest one, and refused for it.
            with contextlib.suppress(WireError):
                self._key_sets.offer(signed)

    def _what_is_missing(self) -> str | None:
        return self.calls.not_ready() or self._gatekeeper.not_ready()

    def _tell_health(self) -> None:
        missing = self._what_is_missing()
        if missing == self._missing:
            return
        self._missing = missing
        self.set_serving(missing is None)
        self._row.phase = Phase.SERVING if missing is None else Phase.NOT_SERVING
        if missing is None:
            _log.info("verifier is serving", worker=self.config.number)
        else:
            _log.warning("verifier is not serving", worker=self.config.number, missing=missing)


class _Watched:
    """A document, and who takes it when it has changed."""

    def __init__(self, document: Document, take: Callable[[bytes], None], name: str) -> None:
        self._document = document
        self._take = take
        self._name = name
        self._seen = 0
        self._failed = 0  # the version that could not be taken, and was told of
        self._looks_to_wait = 0

    def look(self) -> None:
        version = self._document.version
        if version == self._seen:
            return
        if version == self._failed and self._looks_to_wait:
            self._looks_to_wait -= 1
            return
        try:
            self._take(self._document.read())
        except Exception as error:  # noqa: BLE001 - the tick must go on, whatever was published
            # Tried again: a failure that passes, of memory say, must not leave a revoked key in force.
            if version != self._failed:
                trouble = type(error).__name__
                _log.error("what was published cannot be taken", part=self._name, trouble=trouble)
            self._failed, self._looks_to_wait = version, _LOOKS_BETWEEN_TRIES
        else:
            self._seen = version


def _known_codes(most: int, counters: Counters) -> KnownCodes | None:
    return KnownCodes(counters, most=most) if most else None
