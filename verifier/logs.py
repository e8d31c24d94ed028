"""Logs: one JSON object a line on standard error, or plain lines where that is a terminal.

Never one a scan. No QR text, name, document number or key is ever handed to a logger.
"""

import contextlib
import logging
import sys
from typing import TextIO

import structlog


class _Unfailing:
    """A stream whose readers may go and whose disk may fill.

    A log that cannot be written must not end the thread that writes it: the mirror would stand still.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs() -> None:
    """Set up structlog for a service."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=_Unfailing(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


def where_raised(error: Exception) -> str:
    """Return file and line that raised, for errors whose text must not be logged."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
