"""A step done again and again in a thread of its own, whatever it raises.

The threads that keep mirror and key set current must never die: the gates would go on with old status
and a revoked key for good. Trouble is logged when it begins, changes or ends, not at every attempt.
"""

import threading
from collections.abc import Callable

import redis
import structlog

_STOP_TIMEOUT_S = 5.0

_log = structlog.get_logger("verifier")


class Loop:
    """Calls `step` for ever, with a pause between calls."""

    def __init__(self, step: Callable[[], None], *, name: str, pause_s: float, retry_s: float) -> None:
        """`pause_s` follows a step that went well, `retry_s` one that raised."""
        self._step = step
        self._name = name
        self._pause_s = pause_s
        self._retry_s = retry_s
        self._trouble: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further step; returns once the thread is done, or had 5 s to be."""
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - see the top of this file
                self._report(_describe(error))
                self._stopping.wait(self._retry_s)
            else:
                self._report(None)
                self._stopping.wait(self._pause_s)

    def _report(self, trouble: str | None) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble is None:
            _log.info("recovered", part=self._name)
        else:
            _log.warning("trouble", part=self._name, trouble=trouble)


def _describe(error: Exception) -> str:
    # A lost connection names the address. Other errors of Redis may quote what was sent: their type says
    # enough.
    if isinstance(error, redis.RedisError) and not isinstance(error, redis.ConnectionError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"
