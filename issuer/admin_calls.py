"""What the halves of AdminServicer share: who serves them, the time, and whether a change is published."""

from collections.abc import Callable

from issuer.publisher import Publisher
from issuer.reasons import Reasons
from issuer.register.statuses import Statuses
from issuer.v1 import admin_pb2 as pb


class AdminCalls:
    """The ground of both halves."""

    statuses: Statuses
    reasons: Reasons
    publisher: Publisher
    clock: Callable[[], float]  # Unix seconds

    def _now(self) -> int:
        return int(self.clock())

    def _publication(self, seq: int) -> pb.Publication:
        """Return whether the outbox is in Redis up to `seq`; waits for it a little."""
        if seq == 0:
            return pb.PUBLICATION_UNSPECIFIED
        is_published = self.publisher.wait_until_published(seq)
        return pb.PUBLICATION_PUBLISHED if is_published else pb.PUBLICATION_PENDING
