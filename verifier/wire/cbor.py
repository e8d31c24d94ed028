"""The few CBOR items that codes are made of, in their one deterministic encoding.

RFC 8949, section 4.2.1: shortest heads, definite lengths. A code has a fixed shape
(protos/code_token.cddl), so its reader asks for the item that must come next and takes nothing else:
there is no recursion, no tag, no float and no length to allocate for. A general decoder followed by
checks was as fast, but took non-minimal integers and trailing bytes and acted on foreign tags before
we could look.
"""

from verifier.wire.errors import CborError

UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG = (major << 5 for major in range(7))

_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}


def head(major: int, value: int) -> bytes:
    """Return the shortest head of the major type (one of this module's constants) for 0 <= value < 2**64."""
    if value < 24:
        return bytes((major | value,))
    for additional, width in _WIDTHS.items():
        if value < 1 << (8 * width):
            return bytes((major | additional,)) + value.to_bytes(width, "big")
    raise ValueError("expected a value under 2**64")


def byte_string(value: bytes) -> bytes:
    """Return the byte string item of `value`."""
    return head(BYTES, len(value)) + value


def text_string(value: str) -> bytes:
    """Return the text string item of `value`."""
    encoded = value.encode()
    return head(TEXT, len(encoded)) + encoded


def read_head(data: bytes, at: int, major: int) -> tuple[int, int]:
    """Read the head of an item of that major type at `at`; return its value and where it ends.

    Raises CborError when another type stands there, the head is not the shortest, its length is
    indefinite, or the data end within it.
    """
    if at >= len(data):
        raise CborError("expected an item, got the end")
    additional = data[at] - major
    if 0 <= additional < 24:
        return additional, at + 1
    width = _WIDTHS.get(additional)
    if width is None:
        raise CborError(f"expected major type {major >> 5}, got initial byte {data[at]:#04x}")
    end = at + 1 + width
    if end > len(data):
        raise CborError("expected the rest of a head, got the end")
    value = int.from_bytes(data[at + 1 : end], "big")
    if value < (24 if width == 1 else 1 << (4 * width)):
        raise CborError("expected the shortest head")
    return value, end


def read_string(data: bytes, at: int, major: int) -> tuple[bytes, int]:
    """Read the byte or text string at `at`; return its bytes and where it ends; raises CborError."""
    length, start = read_head(data, at, major)
    end = start + length
    if end > len(data):
        raise CborError(f"expected a string of {length} bytes, got {len(data) - start}")
    return data[start:end], end
