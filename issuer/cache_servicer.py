"""The cache service: what operators ask of Redis, handed to the publisher, which alone writes there."""

from collections.abc import Iterator
from contextlib import closing

from issuer.access.roles import Caller, Role
from issuer.answers import Gatekeeper, answers_with_stream
from issuer.cache_steps import check, rebuild, repair
from issuer.errors import PermissionDenied
from issuer.publisher import Publisher
from issuer.v1 import cache_pb2 as pb
from issuer.v1.cache_pb2_grpc import CacheServiceServicer


class CacheServicer(CacheServiceServicer):
    """Answers as long as the caller listens; one rebuild or check at a time."""

    def __init__(self, *, gatekeeper: Gatekeeper, publisher: Publisher) -> None:
        self.gatekeeper = gatekeeper
        self._publisher = publisher

    @answers_with_stream(Role.OPERATOR)
    def RebuildCache(  # noqa: N802
        self,
        request: pb.RebuildCacheRequest,  # noqa: ARG002
        caller: Caller,  # noqa: ARG002
    ) -> Iterator[pb.RebuildCacheResponse]:
        """Write every byte of Redis from the register."""
        with closing(self._publisher.carry_out(rebuild)) as job:
            for progress in job:
                yield pb.RebuildCacheResponse(
                    shards_done=progress.shards_done,
                    shards_total=progress.shards_total,
                    records=progress.records,
                    is_done=progress.is_done,
                )

    @answers_with_stream(
        Role.OPERATOR, Role.AUDITOR, target=lambda request: "repair" if request.repair else ""
    )
    def CheckCache(  # noqa: N802
        self, request: pb.CheckCacheRequest, caller: Caller
    ) -> Iterator[pb.CheckCacheResponse]:
        """Compare every byte of Redis with the register, and repair it if asked to."""
        if request.repair and Role.OPERATOR not in caller.roles:
            raise PermissionDenied("a repair needs the role operator")
        with closing(self._publisher.carry_out(repair if request.repair else check)) as job:
            for progress in job:
                yield pb.CheckCacheResponse(
                    shards_done=progress.shards_done,
                    shards_total=progress.shards_total,
                    differing_records=progress.differing_records,
                    differing_indices=progress.differing_indices,
                    problems=progress.problems,
                    is_done=progress.is_done,
                    is_repaired=progress.is_repaired,
                )
