"""Standard output and error as they come: a name that cannot be written is no reason to stop."""

import io
import sys


def tolerate_any_encoding() -> None:
    """Write a question mark for what the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
