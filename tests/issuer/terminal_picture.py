"""Read a code that was drawn in the terminal with zxing-cpp."""

import zxingcpp

_PIXELS_PER_MODULE = 4
_HALF_BLOCKS = {" ": (0, 0), "\u2580": (1, 0), "\u2584": (0, 1), "\u2588": (1, 1)}  # upper, lower; 1 is light


def read_terminal(text: str) -> zxingcpp.Barcode:
    """Return the only barcode in a drawing of half blocks."""
    rows: list[list[int]] = []
    for line in text.splitlines():
        pairs = [_HALF_BLOCKS[block] for block in line]
        rows += [[upper for upper, _ in pairs], [lower for _, lower in pairs]]
    scale = range(_PIXELS_PER_MODULE)
    pixels = bytes(255 * light for row in rows for _ in scale for light in row for _ in scale)
    shape = (len(rows) * _PIXELS_PER_MODULE, len(rows[0]) * _PIXELS_PER_MODULE)
    image = memoryview(pixels).cast("B", shape)
    (found,) = zxingcpp.read_barcodes(image)
    return found
