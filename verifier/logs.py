"""Logs: one JSON object a line on standard error, or plain lines where that is a terminal.

Never one a scan. No QR text, name, document number or key is ever handed to a logger.
"""

import logging
import sys

import structlog


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
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
