"""Put an issuer together from its parts: the one place that knows all of them."""

import functools
import time
from collections.abc import Callable

from issuer.access.calls import Calls
from issuer.access.clients import Clients
from issuer.access.gatekeeper import RegisterGatekeeper
from issuer.access.settling import Approvals
from issuer.access_servicer import AccessServicer
from issuer.admin_servicer import AdminServicer
from issuer.bundle_limit import BundleLimit
from issuer.cache_servicer import CacheServicer
from issuer.clock_guard import ClockGuard
from issuer.config import ServeSettings
from issuer.ending import Ending
from issuer.errors import SettingsError
from issuer.folder import Folder
from issuer.gate_list import GateListSigner
from issuer.gate_servicer import GateServicer
from issuer.idempotency import IdempotencyRecord
from issuer.issuer_servicer import IssuerServicer
from issuer.key_servicer import KeyServicer
from issuer.keys.drill import BundleReissue
from issuer.keys.lifecycle import Thresholds
from issuer.keys.operations import KeyOperations
from issuer.keys.ring import KeyRing
from issuer.keys.rotation import Rotation
from issuer.publisher import Publisher
from issuer.reasons import Reasons
from issuer.red_alarm import RedAlarm
from issuer.register.credentials import Credentials
from issuer.register.gates import Gates
from issuer.register.holders import Holders
from issuer.register.keys import Keys
from issuer.register.last_recorded import last_recorded_at
from issuer.register.outbox import Outbox
from issuer.register.purges import Purges
from issuer.register.scan_stats import ScanStats
from issuer.register.scans import Scans
from issuer.register.statuses import Statuses
from issuer.register.suspects import Suspects
from issuer.scan_servicer import ScanServicer
from issuer.server import GrpcServer
from issuer.status_writer import StatusWriter
from issuer.tls import ServerTls
from issuer.unlock import Unlocked
from verifier.loop import Loop
from verifier.tracing import open_tracing

# It is a matter of persons.
_COUNT_APPROVALS_S = 10.0


class Issuer:
    """A whole issuer, ready to start."""

    def __init__(
        self,
        settings: ServeSettings,
        unlocked: Unlocked,
        *,
        passphrase: bytes,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind the addresses; raises SettingsError. `clock` gives Unix seconds."""
        folder = Folder(settings.folder)
        self.database = unlocked.database
        keys = Keys(self.database)
        self.holders = Holders(database=self.database, documents=unlocked.documents)
        self.credentials = Credentials(database=self.database)
        self.statuses = Statuses(database=self.database)
        self.clients = Clients(database=self.database)
        self.approvals = Approvals(database=self.database, clock=clock)
        self._counting = Loop(
            self.approvals.count_waiting,
            name="approvals",
            pause_s=_COUNT_APPROVALS_S,
            retry_s=_COUNT_APPROVALS_S,
        )
        calls = Calls(database=self.database)
        gatekeeper = RegisterGatekeeper(clients=self.clients, calls=calls, clock=clock)
        self.publisher = Publisher(
            outbox=Outbox(self.database), keys=keys, writer=_status_writer(settings, unlocked.root_key_id)
        )
        self._limit = BundleLimit(
            settings.redis_url, burst=settings.bundle_burst, per_hour=settings.bundles_per_hour
        )
        thresholds = Thresholds(life_s=settings.key_life_s, key_set_life_s=settings.key_set_life_s)
        ring = KeyRing(keys=keys, slack_s=thresholds.slack_s)
        clock_guard = ClockGuard(
            monotonic=monotonic, last_recorded_at=functools.partial(last_recorded_at, self.database)
        )
        self.rotation = Rotation(
            database=self.database,
            ring=ring,
            folder=folder,
            passphrase=passphrase,
            root=unlocked.root,
            root_public_key=unlocked.root_public_key,
            thresholds=thresholds,
            publisher=self.publisher,
            clock=clock,
            clock_guard=clock_guard,
        )
        self.gate_list = GateListSigner(
            database=self.database,
            ring=ring,
            publisher=self.publisher,
            clock=clock,
            clock_guard=clock_guard,
        )
        red_alarm = RedAlarm(statuses=self.statuses, per_hour=settings.red_alarm_per_hour)
        self.ending = Ending(
            statuses=self.statuses,
            credentials=self.credentials,
            publisher=self.publisher,
            red_alarm=red_alarm,
            clock=clock,
            clock_guard=clock_guard,
        )
        admin = AdminServicer(
            gatekeeper=gatekeeper,
            holders=self.holders,
            credentials=self.credentials,
            statuses=self.statuses,
            reasons=Reasons.open(folder.reasons),
            approvals=self.approvals,
            publisher=self.publisher,
            red_alarm=red_alarm,
            calls=calls,
            second_person_above=settings.second_person_above,
            clock=clock,
        )
        issuer = IssuerServicer(
            credentials=self.credentials,
            keys=keys,
            ring=ring,
            limit=self._limit,
            record=IdempotencyRecord(monotonic=time.monotonic),
            gatekeeper=gatekeeper,
            clock=clock,
        )
        reissue = BundleReissue(credentials=self.credentials, ring=ring, clock=clock)
        operations = KeyOperations(database=self.database, rotation=self.rotation, reissue=reissue)
        for kind, executor in {**admin.executors(), **operations.executors()}.items():
            self.approvals.register(kind, executor)
        self._tracing = open_tracing(settings.trace, service="gatelight-issuer")
        self.server = GrpcServer(
            issuer=issuer,
            admin=admin,
            keys=KeyServicer(
                database=self.database,
                rotation=self.rotation,
                operations=operations,
                approvals=self.approvals,
                gatekeeper=gatekeeper,
                clock=clock,
            ),
            cache=CacheServicer(gatekeeper=gatekeeper, publisher=self.publisher),
            access=AccessServicer(
                clients=self.clients,
                approvals=self.approvals,
                calls=calls,
                gatekeeper=gatekeeper,
                clock=clock,
            ),
            gates=GateServicer(
                gates=Gates(database=self.database),
                gate_list=self.gate_list,
                gatekeeper=gatekeeper,
                clock=clock,
            ),
            scans=ScanServicer(
                scans=Scans(database=self.database),
                stats=ScanStats(database=self.database),
                suspects=Suspects(database=self.database),
                purges=Purges(database=self.database),
                gatekeeper=gatekeeper,
                clock=clock,
            ),
            gatekeeper=gatekeeper,
            listen=settings.listen,
            socket=folder.socket,
            threads=settings.threads,
            tls=_tls(settings),
            tracing=self._tracing,
        )

    def start(self) -> None:
        """Begin to publish, to turn the keys, to sign gate lists, to end what ends, and to answer.

        Raises RegisterUnavailable or KeyFileError.
        """
        self.publisher.start()
        self.rotation.start()
        self.gate_list.start()
        self.ending.start()
        self._counting.start()
        self.server.start()

    def stop(self, grace_s: float) -> None:
        """Give calls under way `grace_s` seconds, then stop; what is not published stays in the outbox."""
        self.server.drain(grace_s)
        self._counting.stop()
        self.ending.stop()
        self.gate_list.stop()
        self.rotation.stop()
        self.publisher.stop()
        self._limit.close()
        if self._tracing is not None:
            self._tracing.close()


def _status_writer(settings: ServeSettings, root_key_id: bytes) -> StatusWriter:
    try:
        return StatusWriter(settings.redis_url, root_key_id=root_key_id, partitions=settings.partitions)
    except ValueError as error:
        raise SettingsError(f"redis_url: {error}") from None


def _tls(settings: ServeSettings) -> ServerTls | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
