"""What a city shows at its gates, as requests: made ahead, so that nothing is signed under load."""

import functools
import random
from collections.abc import Sequence

from loadtest.city import GATE_ID, City
from verifier.v1 import verifier_pb2 as pb

BATCH_SCANS = 100
_BATCHES = 50  # different ones


class Messages:
    """Serialized requests with codes of a city; those of batches and lanes are all different."""

    def __init__(self, city: City) -> None:
        self._city = city

    @functools.cached_property
    def scan(self) -> bytes:
        """A VerifyCodeRequest."""
        return self._request(0).SerializeToString()

    @functools.cached_property
    def batches(self) -> Sequence[bytes]:
        """VerifyCodesRequests of 100 scans."""
        starts = range(0, len(self._scans), BATCH_SCANS)
        batches = (pb.VerifyCodesRequest(scans=self._scans[at : at + BATCH_SCANS]) for at in starts)
        return [batch.SerializeToString() for batch in batches]

    @functools.cached_property
    def lane(self) -> Sequence[bytes]:
        """StreamVerifyRequests."""
        return [pb.StreamVerifyRequest(scan=scan).SerializeToString() for scan in self._scans]

    @functools.cached_property
    def _scans(self) -> Sequence[pb.VerifyCodeRequest]:
        # All over the city, so that what memory costs shows.
        indices = random.Random(1).sample(range(self._city.credentials), _BATCHES * BATCH_SCANS)
        return [self._request(index) for index in indices]

    def _request(self, credential_index: int) -> pb.VerifyCodeRequest:
        qr_text = self._city.code(credential_index)
        return pb.VerifyCodeRequest(qr_text=qr_text, scan_id=f"{credential_index:032}", gate_id=GATE_ID)
