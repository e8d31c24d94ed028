"""What must be nowhere, and how it is found: as it is, escaped, in hex, in base64, compressed.

A place is searched as it is and as whatever could be decoded in it, so that one needle stands for its forms.
"""

import base64
import binascii
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from urllib.parse import unquote_to_bytes


class Kind(Enum):
    """What may not be where it was not meant to be."""

    NAME = "names"
    MASKED = "masked names"
    DOCUMENT = "document numbers"
    REGION = "regions"
    ERASED = "what was erased"
    CODE = "codes"
    PRIVATE_KEY = "private keys"
    BEARER_KEY = "bearer keys"
    PASSPHRASE = "passphrase"  # noqa: S105 - the word


# Any code at all, not only those that we know: their characters, and the bytes that these stand for, which
# begin alike (verifier.wire.code).
_QR_TEXT = re.compile(rb"GL1:[0-9A-Z $%*+./:-]{16}")
_COSE = re.compile(rb"\xd2\x84\x4d\xa2\x01\x27\x04\x48.{8}\xa0", re.DOTALL)
# Shorter than any needle would be.
_HEX = re.compile(rb"[0-9a-fA-F]{14,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{9,}")
_ESCAPE = re.compile(
    rb"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{3}))|&#x([0-9a-fA-F]+);|&#(\d+);"
)
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_MOST_STREAMS = 2_000
_MOST_BYTES = 64 << 20
# Of the text encodings that somebody might write.
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "gb18030")


class Needles:
    """What is looked for."""

    def __init__(self) -> None:
        self._needles: dict[Kind, set[bytes]] = {}

    def add(self, kind: Kind, *secrets: str | bytes) -> None:
        """Look for some more; a text in each encoding that could be written."""
        for secret in secrets:
            forms = (
                [secret]
                if isinstance(secret, bytes)
                else [secret.encode(encoding) for encoding in _ENCODINGS]
            )
            # Under 7 bytes anything turns up by chance.
            self._needles.setdefault(kind, set()).update(form for form in forms if len(form) >= 7)

    @property
    def kinds(self) -> Mapping[Kind, int]:
        """How many of each there are."""
        return {kind: len(found) for kind, found in self._needles.items()}

    def find(self, content: bytes) -> Counter[Kind]:
        """Return how often something of each kind is in there, in any form."""
        found: Counter[Kind] = Counter()
        for view in _views(content):
            for kind, needles in self._needles.items():
                found[kind] += sum(view.count(needle) for needle in needles)
            found[Kind.CODE] += len(_QR_TEXT.findall(view)) + len(_COSE.findall(view))
        return +found


def _views(content: bytes) -> Iterator[bytes]:
    """Yield the content, and what can be decoded in it."""
    yield content
    runs = _HEX.findall(content)
    for begin in (0, 1):
        yield b"\n".join(_unhex(run[begin:]) for run in runs)
    runs = [run for run in _BASE64.findall(content) if not run.isdigit()]
    for begin in range(4):
        yield b"\n".join(_unbase64(run[begin:]) for run in runs)
    if b"%" in content:
        yield unquote_to_bytes(content)
    if b"\\" in content or b"&#" in content:
        yield _ESCAPE.sub(_unescape, content)
    yield from _inflated(content)


def _unhex(run: bytes) -> bytes:
    return binascii.unhexlify(run[: len(run) // 2 * 2])


def _unbase64(run: bytes) -> bytes:
    whole = run[: len(run) // 4 * 4]
    # Three quarters of a group are a byte or two more; a needle ends where it does.
    whole += run[len(whole) :] + b"A" * (-len(run) % 4) if len(run) % 4 > 1 else b""
    return base64.b64decode(whole, altchars=b"-_" if b"-" in run or b"_" in run else None)


def _unescape(match: re.Match[bytes]) -> bytes:
    short, long, byte, octal, hexadecimal, decimal = match.groups()
    if byte or octal:
        return bytes((int(byte or octal, 16 if byte else 8) & 0xFF,))
    number = int(short or long or hexadecimal or decimal, 10 if decimal else 16)
    try:
        return chr(number).encode()
    except (ValueError, OverflowError):  # no character, or half of one
        return b"?"


def _inflated(content: bytes) -> Iterator[bytes]:
    for number, match in enumerate(_COMPRESSED.finditer(content)):
        if number >= _MOST_STREAMS:
            return
        inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
        try:
            yield inflater.decompress(content[match.start() :], _MOST_BYTES)
        except zlib.error:
            continue


def forms_of(secret: bytes) -> Sequence[bytes]:
    """Return forms of a secret in which it must be found: the search is tried on them."""
    return (
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        b"x" + base64.b64encode(b"ab" + secret + b"c"),
        base64.urlsafe_b64encode(secret),
        repr(secret).encode(),
        "".join(f"\\{byte:03o}" for byte in secret).encode(),
        b"".join(b"%%%02x" % byte for byte in secret),
        zlib.compress(b"some text before " + secret),
    )
