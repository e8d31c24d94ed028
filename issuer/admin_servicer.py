"""What the staff of the issuer call: AdminService, put together."""

from collections.abc import Callable

from issuer.access.approvals import ApprovalRequests
from issuer.access.calls import Calls
from issuer.answers import Gatekeeper
from issuer.holder_calls import HolderCalls
from issuer.publisher import Publisher
from issuer.reasons import Reasons
from issuer.red_alarm import RedAlarm
from issuer.register.credentials import Credentials
from issuer.register.holders import Holders
from issuer.register.statuses import Statuses
from issuer.status_calls import StatusCalls
from issuer.v1.admin_pb2_grpc import AdminServiceServicer


class AdminServicer(HolderCalls, StatusCalls, AdminServiceServicer):
    """Holders, credentials and status."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        holders: Holders,
        credentials: Credentials,
        statuses: Statuses,
        reasons: Reasons,
        approvals: ApprovalRequests,
        publisher: Publisher,
        red_alarm: RedAlarm,
        calls: Calls,
        second_person_above: int,
        clock: Callable[[], float],
    ) -> None:
        """A client may change `second_person_above` holders an hour by itself; `clock` gives Unix seconds."""
        self.gatekeeper = gatekeeper
        self.holders = holders
        self.credentials = credentials
        self.statuses = statuses
        self.reasons = reasons
        self.approvals = approvals
        self.publisher = publisher
        self.red_alarm = red_alarm
        self.calls = calls
        self.second_person_above = second_person_above
        self.clock = clock
