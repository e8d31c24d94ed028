"""The lock that keeps a second process from serving a PostgreSQL register.

Two would publish the same outbox, and the slower one would put old records over new ones. The lock of
the issuer's folder cannot see a process on another machine; this one lies in the database, belongs to
one connection and goes with it.

A restarted server has forgotten it. So it is looked after before each change is made, which takes a
round trip to the server, 0.1 ms on the machine of the README.
"""

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from issuer.errors import AlreadyServed, RegisterUnavailable

# Any number; other programs that take advisory locks in this database have others.
SERVING_LOCK = 0x6761_7465_6C69_6768


class ServingLock:
    """Held by the process that serves. Used under the turn of the writer, by one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine of its own, whose one connection the lock belongs to."""
        self._engine = engine
        self._connection: Connection | None = None
        self._is_serving = False

    def take(self) -> None:
        """Take the lock; raises AlreadyServed when another process has it."""
        if not self._try():
            raise AlreadyServed("another process serves this register: stop that one first")
        self._is_serving = True

    def require(self) -> None:
        """Make sure that we have it, and take it again where it was lost; raises RegisterUnavailable."""
        if not self._is_serving:
            return  # a command that works by itself
        if not self._is_alive() and not self._try():
            raise RegisterUnavailable(
                "another process serves this register now, or the server has not noticed yet that a "
                "connection of ours is gone"
            )

    def release(self) -> None:
        """Let go of it."""
        self._is_serving = False
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # the lock belongs to the session, which ends here
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Let go of it, and of the connection."""
        self.release()
        self._engine.dispose()

    def _is_alive(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.execute(select(1))
        except DBAPIError:
            return False
        return True

    def _try(self) -> bool:
        self._disconnect()
        connection = self._engine.connect()
        try:
            is_ours = bool(connection.scalar(select(func.pg_try_advisory_lock(SERVING_LOCK))))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        if not is_ours:
            self._disconnect()
            return False
        return True
