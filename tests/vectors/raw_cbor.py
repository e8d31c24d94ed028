"""Write CBOR and Base45 by hand, right or wrong on purpose: what the vectors are built with.

Nothing here comes from verifier.wire, so that a mistake in its encoder cannot hide in the vectors, and
nothing here checks anything: heads can be longer than needed, lengths can lie, maps can repeat keys.
"""

_BASE45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
BREAK = b"\xff"
NULL = b"\xf6"


def head(major: int, value: int, width: int | None = None) -> bytes:
    """Return the head of an item of major type 0 to 7, its argument in the shortest form.

    `width` asks for another one: 0 for the initial byte alone, or 1, 2, 4 or 8 bytes after it.
    """
    if width is None:
        width = 0 if value < 24 else next(w for w in (1, 2, 4, 8) if value < 256**w)
    if width == 0:
        return bytes([major * 32 + value])
    additional = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    return bytes([major * 32 + additional]) + value.to_bytes(width, "big")


def integer(value: int, width: int | None = None) -> bytes:
    """Return an integer item, negative ones included."""
    return head(0, value, width) if value >= 0 else head(1, -1 - value, width)


def byte_string(content: bytes, width: int | None = None) -> bytes:
    """Return a byte string item."""
    return head(2, len(content), width) + content


def text_string(content: str | bytes, width: int | None = None) -> bytes:
    """Return a text string item; bytes are taken as they are, valid UTF-8 or not."""
    raw = content.encode() if isinstance(content, str) else content
    return head(3, len(raw), width) + raw


def array(*items: bytes, width: int | None = None) -> bytes:
    """Return an array of encoded items."""
    return head(4, len(items), width) + b"".join(items)


def mapping(*pairs: tuple[bytes, bytes], width: int | None = None) -> bytes:
    """Return a map of pairs of encoded items, in the order given."""
    return head(5, len(pairs), width) + b"".join(key + value for key, value in pairs)


def tag(number: int, item: bytes, width: int | None = None) -> bytes:
    """Return a tagged item."""
    return head(6, number, width) + item


def indefinite(major: int, *items: bytes) -> bytes:
    """Return an item of indefinite length: a string in chunks (2, 3), an array (4) or a map (5)."""
    return bytes([major * 32 + 31]) + b"".join(items) + BREAK


def base45(content: bytes) -> str:
    """Return the Base45 text of bytes, digit by digit as RFC 9285, section 4 describes it."""
    text = ""
    for at in range(0, len(content), 2):
        group = content[at : at + 2]
        number = int.from_bytes(group, "big")
        for _ in range(len(group) + 1):
            text += _BASE45[number % 45]
            number //= 45
    return text
