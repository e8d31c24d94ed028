"""Faults of certificates, under load: renewed while gates scan, half written, about to run out."""

import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.office import CREDENTIALS, CityOffice, city_office
from loadtest.outages.certificates import Authority, Issued
from loadtest.outages.fault import Fault
from loadtest.outages.host_scene import wait_until
from loadtest.outages.scene import Scene
from loadtest.outages.signs import below
from loadtest.processes import ProcessError
from verifier.client_tls import ClientTls
from verifier.health_rules import CERTIFICATE_LEFT_S

_LONG_DAYS, _SHORT_DAYS = 90, 2
_HANDSHAKE_S = 5.0
_RENEWED_S = 30.0
_SCAN_WAITS_S = 2.0  # as VerifierClient has it
# New gates that connect while the certificate changes, and after it has.
_PAUSE_S = 0.02
_GATES_AFTERWARDS = 20
_REFUSED = "the configuration cannot be used, the old one holds"


class TlsScene(Scene):
    """A verifier that speaks TLS, whose files can be written over."""

    def __init__(self, office: CityOffice, *, folder: Path, engine: str) -> None:
        """It is not started yet; raises OSError."""
        self._authority = Authority(folder / "authority.pem")
        self._certificate, self._key = folder / "server.pem", folder / "server.key"
        self.tls = ClientTls(ca=self._authority.path)
        self._in_use = self._write(_LONG_DAYS)
        options = ["--tls-certificate", str(self._certificate), "--tls-key", str(self._key)]
        super().__init__(office, folder=folder, engine=engine, options=options)

    def renew(self, days: int) -> None:
        """Write new files, have them taken up, and return when every new gate sees the new certificate.

        Raises ProcessError when a gate that connects meanwhile does not get through.
        """
        new = self._write(days)
        self.verifiers[0].process.send(signal.SIGHUP)
        seen = 0
        deadline = time.monotonic() + _RENEWED_S
        while seen < _GATES_AFTERWARDS:
            shown = self.shown()
            seen = seen + 1 if shown == new.der else 0
            if shown not in (new.der, self._in_use.der):
                raise ProcessError("a gate was shown a certificate of nobody")
            if time.monotonic() > deadline:
                raise ProcessError(f"the new certificate is not shown:\n{self.verifiers[0].process.tail()}")
            time.sleep(_PAUSE_S)
        self._in_use = new

    def break_off(self) -> None:
        """Write half of a certificate, and return when it was refused; raises ProcessError."""
        log = self.verifiers[0].process.log
        refused = log.read_text().count(_REFUSED)
        new = self._authority.issue(days=_LONG_DAYS)
        self._certificate.write_bytes(new.certificate[: len(new.certificate) // 2])
        self.verifiers[0].process.send(signal.SIGHUP)
        wait_until(lambda: log.read_text().count(_REFUSED) > refused, "a certificate that is refused")
        if self.shown() != self._in_use.der:
            raise ProcessError("the old certificate is not shown any more")

    def shown(self) -> bytes | None:
        """Connect as a new gate, and return the certificate that it is shown (DER); raises ProcessError.

        It tries again for as long as a scan waits: Linux resets connections that nobody has accepted yet when
        one of the processes that share a port closes it.
        """
        deadline = time.monotonic() + _SCAN_WAITS_S
        while True:
            try:
                return self._shown()
            except OSError as error:
                if time.monotonic() > deadline:
                    why = f"{type(error).__name__}: {error}"
                    raise ProcessError(f"a new gate does not get through: {why}") from None
                time.sleep(_PAUSE_S)

    def _shown(self) -> bytes | None:
        context = ssl.create_default_context(cafile=self._authority.path)
        context.set_alpn_protocols(["h2"])
        host, _, port = self.verifiers[0].address.rpartition(":")
        with (
            socket.create_connection((host, int(port)), timeout=_HANDSHAKE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as own,
        ):
            return own.getpeercert(binary_form=True)

    def _write(self, days: int) -> Issued:
        issued = self._authority.issue(days=days)
        self._certificate.write_bytes(issued.certificate)
        self._key.write_bytes(issued.key)
        return issued


@contextmanager
def tls_scene(folder: Path, *, engine: str, credentials: int = CREDENTIALS) -> Iterator[TlsScene]:
    """Set up Redis, a city and a verifier with TLS in `folder`, and tear them down; raises ProcessError."""
    with city_office(folder, credentials=credentials) as office:
        running = TlsScene(office, folder=folder, engine=engine)
        try:
            running.start_verifier()
            yield running
        finally:
            running.close()


def _with_tls(do: Callable[[TlsScene], object]) -> Callable[[Scene], object]:
    def done(scene: Scene) -> object:
        if not isinstance(scene, TlsScene):
            raise TypeError(f"expected a verifier with TLS, got {type(scene).__name__}")
        return do(scene)

    return done


def _leave(scene: Scene) -> None:
    """It is as it should be."""


FAULTS: Sequence[Fault] = (
    Fault(
        "certificate-renewed",
        "a new certificate is written over the old one, and SIGHUP",
        _with_tls(lambda scene: scene.renew(_LONG_DAYS)),
        _leave,
        needs=tls_scene,
    ),
    Fault(
        "certificate-broken",
        "half a certificate is written over the old one, and SIGHUP",
        _with_tls(TlsScene.break_off),
        _with_tls(lambda scene: scene.renew(_LONG_DAYS)),
        needs=tls_scene,
    ),
    Fault(
        "certificate-running-out",
        "the certificate ends in two days",
        _with_tls(lambda scene: scene.renew(_SHORT_DAYS)),
        _with_tls(lambda scene: scene.renew(_LONG_DAYS)),
        below("tls_certificate_left_seconds", CERTIFICATE_LEFT_S),
        needs=tls_scene,
    ),
)
