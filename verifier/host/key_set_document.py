"""Several signed key sets in one document of shared memory, each behind its length. Pure."""

import struct
from collections.abc import Sequence

_LENGTH = struct.Struct("<I")


def pack(signed_sets: Sequence[bytes]) -> bytes:
    """Return the document."""
    return b"".join(_LENGTH.pack(len(signed)) + signed for signed in signed_sets)


def unpack(document: bytes) -> list[bytes]:
    """Return what was packed; of a document that ends early, what is whole."""
    signed_sets = []
    at = 0
    while at + _LENGTH.size <= len(document):
        (length,) = _LENGTH.unpack_from(document, at)
        at += _LENGTH.size
        if at + length > len(document):
            break
        signed_sets.append(document[at : at + length])
        at += length
    return signed_sets
