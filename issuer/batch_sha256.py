"""What a consent to an import of statuses is bound to: the SHA-256 of each of its batches.

Whoever asks for the consent computes them before, the issuer when the batch comes. The serialisation is
that of the Python runtime of protobuf, which is the same on both sides.
"""

import hashlib

from issuer.v1 import admin_pb2 as pb


def sha256_of_batch(request: pb.ImportStatusesRequest) -> bytes:
    """Return the SHA-256 of the rows of a batch, 32 bytes."""
    rows = pb.ImportStatusesRequest(rows=request.rows)
    return hashlib.sha256(rows.SerializeToString(deterministic=True)).digest()
