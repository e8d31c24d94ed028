"""Read a QR code from an image with zxing-cpp, which shares no code with what drew it."""

from pathlib import Path

import zxingcpp
from PIL import Image

_QR_CODE = zxingcpp.barcode_formats_from_str("QRCode")


class NoQrCode(Exception):
    """There is no QR code in the image that zxing-cpp can read."""


def read_qr_image(path: Path) -> bytes:
    """Return the bytes in the one QR code of an image; raises NoQrCode."""
    with Image.open(path) as image:
        found = zxingcpp.read_barcode(image.convert("L"), formats=_QR_CODE)
    if found is None:
        raise NoQrCode(f"expected a QR code in {path.name}")
    return bytes(found.bytes)
