"""Draw codes as QR symbols (ISO/IEC 18004): alphanumeric mode, error level M, quiet zone of 4 modules.

That is version 7 at most for a PHONE code, 45 x 45 modules: a cheap scanner reads it from a cracked
screen. segno would raise the error level by itself where there is room; it is told not to, so that all
codes of a kind look alike.
"""

import io
from pathlib import Path

import segno

from verifier.atomic_file import write_atomically

SUFFIXES = (".png", ".svg")

_QUIET_ZONE = 4
_PIXELS_PER_MODULE = 10
# Whoever has the picture has the card.
_FILE_MODE = 0o600


def draw(qr_text: str) -> segno.QRCode:
    """Return the symbol of a QR text; raises segno.DataOverflowError for one that fits no symbol."""
    return segno.make_qr(qr_text, error="m", boost_error=False, mode="alphanumeric")


def save(symbol: segno.QRCode, path: Path, *, replace: bool = False) -> None:
    """Write a symbol as PNG or SVG, by the suffix of `path`; raises FileExistsError unless `replace`."""
    picture = io.BytesIO()
    symbol.save(
        picture, kind=path.suffix.removeprefix(".").lower(), scale=_PIXELS_PER_MODULE, border=_QUIET_ZONE
    )
    write_atomically(path, picture.getvalue(), mode=_FILE_MODE, replace=replace)


def terminal_text(symbol: segno.QRCode) -> str:
    """Return a symbol in half blocks, two rows of modules a line, to be shown in white on black."""
    text = io.StringIO()
    symbol.terminal(text, border=_QUIET_ZONE, compact=True)
    return text.getvalue()
