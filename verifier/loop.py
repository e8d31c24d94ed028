"""A step done again and again in a thread of its own, whatever it raises.

The threads that keep mirror and key set current must never die: the gates would go on with old status
and a revoked key for good. Trouble is logged when it begins, shows in a new way or ends, and not at every
attempt.

How a loop is, is known from outside it (health): a step that hangs tells nobody by itself.
"""

import threading
import time
from collections.abc import Callable

import redis
import structlog

from verifier.trouble import WELL, PartHealth, Trouble, classify, reply_code

# So many texts of each kind are logged until a step goes well: they may name one host after another, or be
# new at every attempt.
_MOST_TEXTS = 8

_log = structlog.get_logger("verifier")


class Loop:
    """Calls `step` for ever, with a pause between calls."""

    def __init__(
        self,
        step: Callable[[], None],
        *,
        name: str,
        pause_s: float,
        retry_s: float,
        longest_step_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pause_s` follows a step that went well, `retry_s` one that raised.

        A step that takes more than `longest_step_s` is trouble as well; None: it may take as long as it does.
        """
        self._step = step
        self._name = name
        self._pause_s = pause_s
        self._retry_s = retry_s
        self._longest_step_s = longest_step_s
        self._monotonic = monotonic
        self._told: dict[Trouble, set[str]] = {}  # what was logged since the last step that went well
        self._kind: Trouble | None = None
        self._well_at_s = monotonic()  # the end of the last step that went well
        self._step_at_s: float | None = None  # when the step under way began
        self._took_s: float | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._well_at_s = self._monotonic()
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Begin no further step; tell whether the thread is done, for which it has that long."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Let the next step begin now, or after the one under way."""
        self._woken.set()

    def health(self) -> PartHealth:
        """Return how it is now; for any thread."""
        kind = self._kind
        now_s = self._monotonic()
        if kind is None and self._longest_step_s is not None:
            begun_at_s = self._step_at_s
            if begun_at_s is not None and now_s - begun_at_s > self._longest_step_s:
                kind = Trouble.STALLED
        return WELL if kind is None else PartHealth(kind, max(0.0, now_s - self._well_at_s))

    @property
    def step_s(self) -> float | None:
        """How long the last step took, or the one under way if that is longer; None before the first."""
        begun_at_s, took_s = self._step_at_s, self._took_s
        if begun_at_s is None:
            return took_s
        return max(took_s or 0.0, self._monotonic() - begun_at_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            begun_at_s = self._step_at_s = self._monotonic()
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - see the top of this file
                self._kind = classify(error)
                self._report(self._kind, _describe(error))
                pause_s = self._retry_s
            else:
                self._kind, self._well_at_s = None, self._monotonic()
                self._report_well()
                pause_s = self._pause_s
            self._took_s = self._monotonic() - begun_at_s
            self._step_at_s = None
            if pause_s and not self._stopping.is_set():
                self._woken.wait(pause_s)

    def _report(self, kind: Trouble, text: str) -> None:
        told = self._told.setdefault(kind, set())
        if text not in told and len(told) < _MOST_TEXTS:
            told.add(text)
            _log.warning("trouble", part=self._name, trouble=text)

    def _report_well(self) -> None:
        if self._told:
            self._told.clear()
            _log.info("recovered", part=self._name)


def _describe(error: Exception) -> str:
    # A lost connection names the address. Other errors of Redis may quote what was sent: type and code say
    # enough.
    if isinstance(error, redis.RedisError) and not isinstance(error, redis.ConnectionError):
        code = reply_code(error)
        return f"{type(error).__name__}: {code}" if code else type(error).__name__
    return f"{type(error).__name__}: {error}"
