"""One Redis, and verifiers that speak TLS, whose certificates can be written over."""

import signal
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.office import CREDENTIALS, CityOffice, city_office
from loadtest.outages.certificates import Authority, Issued
from loadtest.outages.host_scene import wait_until
from loadtest.outages.scene import Scene, Verifier, running
from loadtest.processes import ProcessError
from verifier.client_tls import ClientTls

LONG_DAYS = 90
_HANDSHAKE_S = 5.0
_RENEWED_S = 30.0
_SCAN_WAITS_S = 2.0  # as VerifierClient has it
# New gates that connect while the certificate changes, and after it has.
_PAUSE_S = 0.02
_GATES_AFTERWARDS = 20
_REFUSED = "the configuration cannot be used, the old one holds"


class TlsScene(Scene):
    """A verifier of each engine."""

    def __init__(self, office: CityOffice, *, folder: Path, engines: Sequence[str]) -> None:
        """None is started yet; raises OSError."""
        self._authority = Authority(folder / "authority.pem")
        self._certificate, self._key = folder / "server.pem", folder / "server.key"
        self.tls = ClientTls(ca=self._authority.path)
        self._in_use = self._write(LONG_DAYS)
        options = ["--tls-certificate", str(self._certificate), "--tls-key", str(self._key)]
        super().__init__(office, folder=folder, engines=engines, options=options)

    def renew(self, days: int) -> None:
        """Write new files, have them taken up, and return when every new gate sees the new certificate.

        Raises ProcessError when a gate that connects meanwhile does not get through.
        """
        new = self._write(days)
        self._take_up()
        for verifier in self.verifiers:
            self._wait_until_shown(verifier, new)
        self._in_use = new

    def break_off(self) -> None:
        """Write half of a certificate, and return when it was refused; raises ProcessError."""
        refused = self._refused()
        new = self._authority.issue(days=LONG_DAYS)
        self._certificate.write_bytes(new.certificate[: len(new.certificate) // 2])
        self._take_up()
        wait_until(
            lambda: all(now > before for now, before in zip(self._refused(), refused, strict=True)),
            "a certificate that is refused",
        )
        if any(self.shown(verifier) != self._in_use.der for verifier in self.verifiers):
            raise ProcessError("the old certificate is not shown any more")

    def restore(self) -> None:
        """Write the certificate in use again, whole: there is nothing to take up."""
        self._certificate.write_bytes(self._in_use.certificate)

    def _take_up(self) -> None:
        for verifier in self.verifiers:
            verifier.process.send(signal.SIGHUP)

    def _refused(self) -> Sequence[int]:
        """Return how often each verifier has refused what is in the files."""
        return [one.process.log.read_text().count(_REFUSED) for one in self.verifiers]

    def _wait_until_shown(self, verifier: Verifier, new: Issued) -> None:
        seen = 0
        deadline = time.monotonic() + _RENEWED_S
        while seen < _GATES_AFTERWARDS:
            shown = self.shown(verifier)
            seen = seen + 1 if shown == new.der else 0
            if shown not in (new.der, self._in_use.der):
                raise ProcessError("a gate was shown a certificate of nobody")
            if time.monotonic() > deadline:
                raise ProcessError(f"the new certificate is not shown:\n{verifier.process.tail()}")
            time.sleep(_PAUSE_S)

    def shown(self, verifier: Verifier) -> bytes | None:
        """Connect as a new gate, and return the certificate that it is shown (DER); raises ProcessError.

        It tries again for as long as a scan waits: Linux resets connections that nobody has accepted yet when
        one of the processes that share a port closes it.
        """
        deadline = time.monotonic() + _SCAN_WAITS_S
        while True:
            try:
                return self._shown(verifier)
            except OSError as error:
                if time.monotonic() > deadline:
                    why = f"{type(error).__name__}: {error}"
                    raise ProcessError(f"a new gate does not get through: {why}") from None
                time.sleep(_PAUSE_S)

    def _shown(self, verifier: Verifier) -> bytes | None:
        context = ssl.create_default_context(cafile=self._authority.path)
        context.set_alpn_protocols(["h2"])
        host, _, port = verifier.address.rpartition(":")
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
def tls_scene(folder: Path, *, engines: Sequence[str], credentials: int = CREDENTIALS) -> Iterator[TlsScene]:
    """Set up Redis, a city and verifiers in `folder`, and tear them down again; raises ProcessError."""
    with (
        city_office(folder, credentials=credentials) as office,
        running(TlsScene(office, folder=folder, engines=engines)) as here,
    ):
        yield here
