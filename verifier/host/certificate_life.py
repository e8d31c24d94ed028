"""How long the server's certificate is still valid: of the one that workers show, not of the one on the disk.

Workers read the files when they start, and a new configuration is in force once a worker of it serves. So
the file is read when a configuration is taken, at the start and at SIGHUP, by the thread that starts the
workers, and what was read counts once that configuration is in force. A worker that died and is started again
reads the files anew: a certificate renewed without SIGHUP is shown by that one alone, and does not count.
"""

import time
from collections.abc import Callable

from verifier.errors import SettingsError
from verifier.host.worker_config import WorkerConfig
from verifier.tls import expires_at

_Configure = Callable[[int], WorkerConfig]
_Read = tuple[_Configure, float | None]  # and when its certificate ends, in Unix seconds


class CertificateLife:
    """Knows when the certificate ends. One thread takes configurations, any may ask."""

    def __init__(self, in_force: Callable[[], _Configure], *, clock: Callable[[], float] = time.time) -> None:
        """`in_force` returns what configures workers that start now; `clock` returns Unix seconds."""
        self._in_force = in_force
        self._clock = clock
        self._read: tuple[_Read, ...] = ()  # always replaced as a whole

    def take(self, configure: _Configure) -> None:
        """Read the certificate of a configuration that workers are about to start with."""
        in_force = self._in_force()
        still = tuple(one for one in self._read if one[0] is in_force)
        self._read = (*still, (configure, _ends_at(configure)))

    def left_s(self) -> float | None:
        """Return for how long, in seconds, negative where it is over; None without TLS."""
        in_force = self._in_force()
        ends = [ends_at for configure, ends_at in self._read if configure is in_force]
        return None if not ends or ends[-1] is None else ends[-1] - self._clock()


def _ends_at(configure: _Configure) -> float | None:
    tls = configure(0).tls
    if tls is None:
        return None
    try:
        return expires_at(tls.certificate)
    except SettingsError:  # it was there a moment ago, and will be told of
        return None
