"""How long the server's certificate is still valid: of the one that workers show, not of the one on the disk.

Workers read the files when they start, and a new configuration is in force once a worker of it serves. So the
file is read at the start and whenever that has changed.
"""

import contextlib
import time
from collections.abc import Callable

from verifier.errors import SettingsError
from verifier.host.worker_config import WorkerConfig
from verifier.tls import expires_at

_Configure = Callable[[int], WorkerConfig]


class CertificateLife:
    """Knows when the certificate ends. For one thread at a time."""

    def __init__(self, in_force: Callable[[], _Configure], *, clock: Callable[[], float] = time.time) -> None:
        """`in_force` returns what configures workers that start now; `clock` returns Unix seconds."""
        self._in_force = in_force
        self._clock = clock
        self._read_for: _Configure | None = None
        self._expires_at: float | None = None

    def left_s(self) -> float | None:
        """Return for how long, in seconds, negative where it is over; None without TLS."""
        configure = self._in_force()
        if configure is not self._read_for:
            self._read_for, self._expires_at = configure, None
            tls = configure(0).tls
            if tls is not None:
                with contextlib.suppress(SettingsError):  # it was there a moment ago, and will be told of
                    self._expires_at = expires_at(tls.certificate)
        return None if self._expires_at is None else self._expires_at - self._clock()
