"""Carry an import through: batches to the issuer, refused rows to their file, a checkpoint after each batch.

The order in which things are made safe is the point of this file: what a batch brought goes into its files
first, then the checkpoint names their lengths and the place in the input. Killed at any instant, a rerun
sends again at most the batches behind the checkpoint; the issuer knows their rows by external_id.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from issuer.cli.batch_request import BatchRequest, as_request
from issuer.cli.batch_stream import BatchStream, NoBatchAnswer
from issuer.cli.checkpoint import Checkpoint, Counts, FileIdentity
from issuer.cli.import_file import Batch, ImportFile, UnreadRow
from issuer.cli.result_file import CsvRejects, IssuedFile, JsonRejects
from issuer.cli.rows import RowKind

# One that the issuer works on, and one that is ready when it is done.
_MAX_UNANSWERED = 2
# An issuer that is restarted is back within seconds, one that has to be looked after is not: 1 minute.
_BACKOFF_S = (0.5, 1, 2, 4, 8, 15, 15, 15)
_WORTH_A_RETRY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,  # the issuer drains
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    checkpoint: Checkpoint
    publication: int  # of the last batch; 0 where nothing was sent


@dataclass(slots=True)
class Import:
    """An import under way."""

    kind: RowKind
    file: ImportFile
    call: Callable[[Iterator[Any]], Any]  # the rpc
    checkpoint: Checkpoint
    checkpoint_path: Path
    identity: FileIdentity
    rejects: CsvRejects | JsonRejects
    issued: IssuedFile | None
    timeout_s: float
    on_progress: Callable[[Checkpoint], None]
    on_retry: Callable[[grpc.RpcError | NoBatchAnswer, float], None]
    sleep: Callable[[float], None] = time.sleep

    @property
    def is_untouched(self) -> bool:
        """Whether no row was answered, and none is in a result file."""
        return self.checkpoint.counts.rows == 0 and self.rejects.is_empty

    def run(self) -> Outcome:
        """Import all that is left.

        Raises grpc.RpcError or NoBatchAnswer when the issuer is lost, and OSError. Nothing is lost then: the
        checkpoint says where a rerun goes on.
        """
        publication = 0
        unanswered: deque[BatchRequest] = deque()
        backoff: Iterator[float] = iter(())  # before the first answer there is nothing to come back
        batches = iter(self.file.read_batch, None)
        stream: BatchStream | None = None
        try:
            while True:
                try:
                    stream = stream or self._open(unanswered)
                    while len(unanswered) < _MAX_UNANSWERED and (batch := next(batches, None)) is not None:
                        sent = self._prepare(batch)
                        unanswered.append(sent)
                        if sent.rows:
                            stream.send(sent.request)
                    if not unanswered:
                        stream.close(is_broken=False)
                        stream = None
                        return Outcome(self.checkpoint, publication)
                    answer = stream.receive() if unanswered[0].rows else None
                except (grpc.RpcError, NoBatchAnswer) as error:
                    _drop(stream)
                    stream = None
                    if not _is_worth_a_retry(error) or (wait_s := next(backoff, None)) is None:
                        raise
                    self.on_retry(error, wait_s)
                    self.sleep(wait_s)
                    continue
                if answer is not None:
                    publication = answer.outcome.publication
                    backoff = iter(_BACKOFF_S)  # it works: the next loss is another one
                self._settle(unanswered[0], answer)
                unanswered.popleft()
        finally:
            _drop(stream)
            self.rejects.close()
            if self.issued is not None:
                self.issued.close()

    def _open(self, unanswered: Sequence[BatchRequest]) -> BatchStream:
        stream = BatchStream(self.call, timeout_s=self.timeout_s)
        for sent in unanswered:
            if sent.rows:
                stream.send(sent.request)
        return stream

    def _prepare(self, batch: Batch) -> BatchRequest:
        sent = as_request(self.file, self.kind, batch)
        if self.checkpoint.approval_id:
            sent.request.approval_id = self.checkpoint.approval_id
        return sent

    def _settle(self, sent: BatchRequest, answer: Any) -> None:
        rejected = list(sent.unread)
        known = 0
        if answer is not None:
            outcome = answer.outcome
            known = outcome.known
            for refused in outcome.refused:
                place = refused.position
                rejected.append(UnreadRow(sent.lines[place], refused.reason, sent.rows[place]))
            if self.issued is not None:
                found = zip(sent.external_ids, outcome.ids, strict=True)
                self.issued.write([(external_id, index) for external_id, index in found if index])
        if rejected:
            rejected.sort(key=lambda one: one.line)
            self.rejects.write(rejected)
        counts = self.checkpoint.counts
        self.checkpoint = replace(
            self.checkpoint,
            offset=sent.end.offset,
            line=sent.end.line,
            rejects_size=self.rejects.size,
            output_size=0 if self.issued is None else self.issued.size,
            counts=Counts(
                entered=counts.entered + len(sent.rows) + len(sent.unread) - len(rejected) - known,
                known=counts.known + known,
                rejected=counts.rejected + len(rejected),
            ),
        )
        self.checkpoint.save(self.checkpoint_path, self.identity)
        self.on_progress(self.checkpoint)


def _is_worth_a_retry(error: grpc.RpcError | NoBatchAnswer) -> bool:
    return isinstance(error, NoBatchAnswer) or error.code() in _WORTH_A_RETRY


def _drop(stream: BatchStream | None) -> None:
    if stream is not None:
        stream.close(is_broken=True)
