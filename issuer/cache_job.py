"""A rebuild, check or repair that a caller waits for and the publisher's thread carries out.

The caller sees the newest progress, not each: however slowly it reads, nothing piles up and the thread
does not wait. When it goes away, the job ends after the step under way, which is always safe
(issuer/cache_steps.py); only a finished job has given Redis a new epoch.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace

from redis.exceptions import RedisError

from issuer.cache_steps import Progress
from issuer.errors import CacheUnavailable, FailedPrecondition, ForeignCache

# How often a caller hears of a job that makes no progress: then we notice whether it is still there.
_REPEAT_S = 1.0


class CacheJob:
    """One job, shared between the caller's thread and the publisher's."""

    def __init__(self, steps: Iterator[Progress]) -> None:
        self._steps = steps
        self._progress = Progress()
        self._error: Exception | None = None
        self._is_cancelled = False
        self._changed = threading.Condition()

    # The caller's side

    def watch(self) -> Iterator[Progress]:
        """Give the newest progress, at least each second, until the job is done.

        Raises CacheUnavailable, RegisterUnavailable, or FailedPrecondition for the Redis of another issuer.
        """
        seen: Progress | None = None
        while seen is None or not seen.is_done:
            with self._changed:
                self._changed.wait_for(
                    lambda last=seen: self._error is not None or self._progress is not last,  # type: ignore[misc]
                    _REPEAT_S,
                )
                if self._error is not None:
                    raise self._error
                seen = self._progress
            yield seen

    def cancel(self) -> None:
        """Make no further step."""
        self._is_cancelled = True

    # The publisher's side

    def advance(self) -> Progress | None:
        """Make one step and return the progress; None when nobody waits. Raises what the step raises."""
        return None if self._is_cancelled else next(self._steps)

    def tell(self, progress: Progress) -> None:
        """Show the progress to the caller."""
        with self._changed:
            self._progress = progress
            self._changed.notify_all()

    def was_rebuilt(self, rebuilt: Progress, *, reason: str) -> None:
        """End the job: Redis was not as it should be, and every byte was written anew."""
        found = self._progress
        self.tell(
            replace(
                rebuilt,
                differing_records=found.differing_records,
                differing_indices=found.differing_indices,
                problems=(*found.problems, reason),
                is_repaired=True,
            )
        )

    def fail(self, error: Exception) -> None:
        """End the job; the caller gets the error as an answer to its call."""
        with self._changed:
            self._error = _as_answer(error)
            self._changed.notify_all()


def _as_answer(error: Exception) -> Exception:
    if isinstance(error, ForeignCache):
        return FailedPrecondition(str(error))
    if isinstance(error, RedisError):
        # Errors of Redis may quote what was sent: the type says enough.
        return CacheUnavailable(f"Redis does not answer as it should ({type(error).__name__}): try again")
    return error
