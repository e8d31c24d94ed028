"""Run an archive: wire the parts together, and go on until told to stop."""

import contextlib
import functools
import signal
import threading
import time

import structlog

from issuer.archive import metrics
from issuer.archive.consumer import Consumer
from issuer.archive.purge import DailyPurge
from issuer.archive.stream import ScanStream
from issuer.clock_guard import ClockGuard
from issuer.config import ArchiveSettings
from issuer.errors import SettingsError
from issuer.folder import Folder, archiving
from issuer.metrics_listen import metrics_served
from issuer.register.address import SQLITE
from issuer.register.database import Database
from issuer.register.last_recorded import last_recorded_at
from issuer.register.purges import Purges
from issuer.register.scans import Scans
from issuer.register.showings import Showings
from issuer.register.suspects import Suspects
from verifier.loop import Loop

# After trouble with Redis or the register; both were waited for already.
_RETRY_S = 1.0
# A slice of a purge is 1 000 rows, so this is 5 000 a second, 400 million a day.
_PURGE_PAUSE_S = 0.2

_log = structlog.get_logger("archive")


def archive(settings: ArchiveSettings) -> None:
    """Archive until SIGTERM or SIGINT; raises SetupError or RegisterUnavailable when it cannot begin."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    folder = Folder(settings.folder)
    try:
        stream = ScanStream(settings.redis_url)
    except ValueError as error:
        raise SettingsError(f"redis_url: {error}") from None
    with (
        archiving(folder),
        contextlib.closing(Database.open(settings.register_url or folder.register)) as database,
        metrics_served(settings.metrics_listen),
    ):
        scans = Scans(database=database)
        consumer = Consumer(
            stream=stream,
            scans=scans,
            showings=Showings(database=database),
            suspects=Suspects(database=database),
            walk_s=settings.walk_s,
            shares_file=database.dialect == SQLITE,
        )
        purge = DailyPurge(
            purges=Purges(database=database),
            scans=scans,
            retention_days=settings.retention_days,
            clock=time.time,
            monotonic=time.monotonic,
            clock_guard=ClockGuard(
                monotonic=time.monotonic, last_recorded_at=functools.partial(last_recorded_at, database)
            ),
            is_working=lambda: stream.is_held,
        )
        loops = (
            Loop(consumer.turn, name="archive", pause_s=0, retry_s=_RETRY_S),
            Loop(purge.step, name="purge", pause_s=_PURGE_PAUSE_S, retry_s=_RETRY_S),
        )
        metrics.IS_WORKING.set_function(lambda: stream.is_held)
        for loop in loops:
            loop.start()
        _log.info("archive is running", register=database.name, retention_days=settings.retention_days)
        stopping.wait()
        for loop in loops:
            loop.stop()
        with contextlib.suppress(Exception):  # the lease ends by itself
            stream.close()
    _log.info("archive stopped")
