"""Logs: one JSON object a line on standard error, or plain lines where that is a terminal.

Never one a scan. No QR text, name, document number or key is ever handed to a logger. What others say, the
libraries and Python itself, comes out in the same form, without what might quote a value: of an error that
nobody caught its type and the place, of a library's message its beginning.

Each line has timestamp, level, event, service, release and pid, and of a worker its number. None holds up who
logs it (verifier.log_writer).
"""

import logging
import re
import sys
import threading
import warnings
from importlib.metadata import version
from os import getpid
from types import TracebackType
from typing import Any

import structlog

from verifier.log_writer import LogWriter

# What follows in a library's message is mostly a value, or the text of an error with a value in it.
_VALUE_BEGINS = re.compile(r"[:'\"=(<\[{]")
_MAX_CHARACTERS = 200

_log = structlog.get_logger("gatelight")


_writer: LogWriter | None = None  # of this process


def configure_logs(service: str, *, worker: int | None = None) -> None:
    """Set up the logs of a process: of a service, and in a worker with its number."""
    global _writer  # noqa: PLW0603 - as structlog's own configuration is the process's
    _writer = LogWriter(sys.stderr, on_dropped=_tell_dropped)
    fields: dict[str, Any] = {"service": service, "release": version("gatelight"), "pid": getpid()}
    if worker is not None:
        fields["worker"] = worker
    on_terminal = is_on_terminal()
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *(
                [structlog.dev.ConsoleRenderer()]
                if on_terminal
                else [lambda _logger, _level, line: fields | line, structlog.processors.JSONRenderer()]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=_writer),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    _take_what_others_say()


def finish_logs() -> None:
    """Wait for the last lines to be written, half a second at most: before os._exit(), or what is like it.

    Where Python itself ends, this is done.
    """
    if _writer is not None:
        _writer.finish()


def tell_plainly(text: str) -> None:
    """Write a plain line behind all others: why a service ends. It waits for nobody, either."""
    if _writer is not None:
        _writer.write(f"{text}\n")


def is_on_terminal() -> bool:
    """Tell whether a person reads the log as it comes."""
    return sys.stderr.isatty()


def where_raised(error: BaseException) -> str:
    """Return file and line that raised, for errors whose text must not be logged."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _tell_dropped(count: int) -> None:
    _log.warning("log lines dropped", lines=count)


def _take_what_others_say() -> None:
    logging.root.handlers = [one for one in logging.root.handlers if not isinstance(one, _Libraries)]
    logging.root.addHandler(_Libraries(logging.WARNING))
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    if threading.excepthook is threading.__excepthook__:  # a worker has its own: it ends
        threading.excepthook = _thread_died
    # What it leaves out, nobody gives by name.
    warnings.showwarning = _warned  # type: ignore[assignment]


class _Libraries(logging.Handler):
    """Takes what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg)
        if record.args:  # a template: nothing behind its first place is said without the value
            said = said.partition("%")[0].rstrip(" :'\"=([{<") or "a library says something"
        else:
            said = _VALUE_BEGINS.split(said, maxsplit=1)[0].strip()
        error = record.exc_info[1] if record.exc_info else None
        details = {} if error is None else {"error": type(error).__name__, "where": where_raised(error)}
        log = _log.error if record.levelno >= logging.ERROR else _log.warning
        log(said[:_MAX_CHARACTERS], library=record.name, **details)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _log.critical("uncaught exception", error=kind.__name__, where=where_raised(error))


def _thread_died(died: threading.ExceptHookArgs) -> None:
    where = "" if died.exc_value is None else where_raised(died.exc_value)
    thread = "" if died.thread is None else died.thread.name
    _log.critical("a thread died", error=died.exc_type.__name__, where=where, thread=thread)


def _unraisable(lost: Any) -> None:
    where = "" if lost.exc_value is None else where_raised(lost.exc_value)
    _log.error("an exception was lost", error=lost.exc_type.__name__, where=where)


def _warned(_message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    _log.warning("Python warns", warning=category.__name__, where=f"{filename}:{lineno}")
