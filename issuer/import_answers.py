"""Answer the batches of an import: what came of each, and how far the changes are on their way to Redis."""

from collections import deque

from issuer.publisher import Publisher
from issuer.register.entries import RowsEntered
from issuer.requests import MAX_LIST
from issuer.v1 import admin_pb2 as pb

# So many batches may be on their way to Redis: the import goes on while they are published, and is held up
# when Redis is slower than the register. While Redis is away the outbox grows, as it does for any change.
_BATCHES_AHEAD = 8


class Backlog:
    """The batches of one import that are on their way to Redis."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._seqs: deque[int] = deque()

    def publication(self, outbox_seq: int, *, row_count: int) -> pb.Publication:
        """Return whether a batch of `row_count` rows, in the outbox up to `outbox_seq`, is in Redis.

        A full batch is followed by another, so nobody waits for it: it is pending. One that is not full is
        the last of its file, and worth waiting for a little: publication is in order, so if it is in Redis
        everything before it is.
        """
        if outbox_seq == 0:
            return pb.PUBLICATION_UNSPECIFIED
        if row_count < MAX_LIST:
            is_published = self._publisher.wait_until_published(outbox_seq)
            return pb.PUBLICATION_PUBLISHED if is_published else pb.PUBLICATION_PENDING
        self._publisher.wake()
        self._seqs.append(outbox_seq)
        if len(self._seqs) > _BATCHES_AHEAD:
            self._publisher.wait_until_published(self._seqs.popleft())
        return pb.PUBLICATION_PENDING


def outcome(entered: RowsEntered, publication: pb.Publication) -> pb.ImportOutcome:
    """Return what came of a batch as a message."""
    return pb.ImportOutcome(
        ids=entered.ids,
        known=entered.known,
        refused=[pb.RefusedRow(position=position, reason=reason) for position, reason in entered.refused],
        publication=publication,
    )
