"""Why a verifier cannot be reached, in words for whoever sets up a gate.

gRPC keeps to itself why it does not connect. So when a call has failed, one connection of our own is made to
the same place with the same files, and what comes of it is told. It decides nothing: the gate is closed
already. It takes a second at most, is made once in a few seconds, and never raises.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

from verifier.client_tls import ClientTls

WITHIN_S = 1.0
_SEARCH_S = 0.9  # the rest is for the threads
# Failures that come sooner after each other have the same reason.
_KEPT_S = 3.0
_HTTPS_PORT = 443  # what gRPC takes where a target has none

# The beginning of HTTP/2, RFC 9113, section 3.4, and an empty SETTINGS; who speaks it answers with SETTINGS.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_HEADER_BYTES = 9
_SETTINGS = 4

# OpenSSL's numbers, x509_vfy.h.
_OUT_OF_DATE = frozenset({9, 10})  # not yet valid, expired
_OTHER_HOST = frozenset({62, 64})  # name, address
_NOT_VOUCHED_FOR = frozenset({2, 18, 19, 20, 21})  # nobody known at the end of the chain

_WANTS_CERTIFICATE = "it asks for a certificate: --tls-certificate and --tls-key"
_WANTS_TLS = "does it want TLS? give --tls-ca"
_WANTS_PLAIN_TEXT = "it speaks plain text: leave out the files of TLS, and beyond this machine say --insecure"


class Diagnosis:
    """Finds out why one target cannot be reached. Threads share it."""

    def __init__(self, target: str, files: ClientTls | None) -> None:
        """`target` and `files` are those of the client; no files: it speaks plain text."""
        self._target = target
        self._files = files
        self._turn = threading.Lock()
        self._found: str | None = None
        self._found_at = float("-inf")

    def reason(self) -> str | None:
        """Return why there is no connection; None where that is not known, or there is one."""
        if self._turn.acquire(blocking=False):  # else another thread is at it: what it found before will do
            if time.monotonic() - self._found_at < _KEPT_S:
                self._turn.release()
            else:
                self._found_at = time.monotonic()
                # Names are looked up for as long as the system likes, so it is done beside.
                search = threading.Thread(target=self._search, name="diagnosis", daemon=True)
                try:
                    search.start()
                except RuntimeError:  # no more threads
                    self._turn.release()
                else:
                    search.join(WITHIN_S)
        return self._found

    def _search(self) -> None:
        try:
            # Whatever goes wrong here is a reason that we do not know.
            found = None
            with contextlib.suppress(Exception):
                found = _reason(self._target, self._files)
            self._found = found
        finally:
            self._turn.release()


def _reason(target: str, files: ClientTls | None) -> str | None:
    ends_at = time.monotonic() + _SEARCH_S
    if (place := _place(target)) is None:
        return None
    try:
        with _connected(place, ends_at):
            pass
    except socket.gaierror as error:
        return f"the name {place[0]} cannot be looked up: {error.strerror}"
    except (ConnectionRefusedError, FileNotFoundError):
        return f"nobody listens at {target}"
    except TimeoutError:
        return f"nothing comes back from {target}: is it the right address, and does the way lead there?"
    except OSError as error:
        return f"{target} cannot be reached: {error.strerror or error}"
    return _plain_reason(place, ends_at) if files is None else _tls_reason(place, files, ends_at)


def _plain_reason(place: tuple[str, int], ends_at: float) -> str | None:
    if _speaks_plain_text(place, ends_at):
        return None
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols(["h2"])
    try:
        with _connected(place, ends_at) as plain, anybody.wrap_socket(plain):
            return _WANTS_TLS
    except OSError:
        return None


def _tls_reason(place: tuple[str, int], files: ClientTls, ends_at: float) -> str | None:
    has_shaken_hands = False
    try:
        with (
            _connected(place, ends_at) as plain,
            _context(files).wrap_socket(plain, server_hostname=place[0]) as own,
        ):
            has_shaken_hands = True
            own.settimeout(_left_s(ends_at))
            # In TLS 1.3 a server looks at our certificate after the handshake is over for us.
            if own.recv(1):
                return None
    except ssl.SSLCertVerificationError as error:
        return _untrusted(error, place[0], files)
    except TimeoutError:
        # It may wait for us to speak first, and else it is frozen.
        return None if has_shaken_hands else "it takes connections, and does not answer in TLS"
    except OSError as error:
        alert = getattr(error, "reason", None) or ""
        if "ALERT" in alert:
            return _refused(alert, files)
    if has_shaken_hands:  # and hung up
        return _WANTS_CERTIFICATE if files.certificate is None else _not_taken(files)
    if _speaks_plain_text(place, ends_at):
        return _WANTS_PLAIN_TEXT
    return "it does not speak TLS: is it a verifier, and at this port?"


def _context(files: ClientTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["h2"])
    # As gRPC has it: whoever is in the file may vouch, and old authorities may be as they are.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context


def _untrusted(error: ssl.SSLCertVerificationError, host: str, files: ClientTls) -> str:
    if error.verify_code in _NOT_VOUCHED_FOR:
        if files.ca is None:
            return "this machine trusts nobody who vouches for its certificate: give --tls-ca"
        return f"its certificate is not vouched for by {files.ca}"
    if error.verify_code in _OUT_OF_DATE:
        return "its certificate is out of date, or the clock here is wrong"
    if error.verify_code in _OTHER_HOST:
        return f"its certificate is not for {host}: name a host that is in it"
    return f"its certificate is no good: {error.verify_message}"


def _refused(alert: str, files: ClientTls) -> str:
    if files.certificate is None:
        return _WANTS_CERTIFICATE if "CERTIFICATE" in alert or "HANDSHAKE" in alert else _in_words(alert)
    return _not_taken(files) if "CERTIFICATE" in alert or "UNKNOWN_CA" in alert else _in_words(alert)


def _not_taken(files: ClientTls) -> str:
    return f"it does not take the certificate {files.certificate}: who issued it is not known there"


def _in_words(alert: str) -> str:
    return f"TLS failed: {alert.lower().replace('_', ' ')}"


def _speaks_plain_text(place: tuple[str, int], ends_at: float) -> bool:
    with contextlib.suppress(OSError), _connected(place, ends_at) as plain:
        plain.sendall(_HELLO)
        heard = b""
        while len(heard) < _FRAME_HEADER_BYTES and (more := plain.recv(_FRAME_HEADER_BYTES - len(heard))):
            heard += more
        return len(heard) == _FRAME_HEADER_BYTES and heard[3] == _SETTINGS
    return False


def _place(target: str) -> tuple[str, int] | None:
    """Return host and port, or the path of a Unix socket and 0; None for gRPC's other forms."""
    if target.startswith("unix:"):
        return target.removeprefix("unix:").removeprefix("//"), 0
    target = target.removeprefix("dns:///").removeprefix("dns:")
    host, colon, port = target.rpartition(":")
    if not colon or target.endswith("]"):
        host, port = target, str(_HTTPS_PORT)
    if not host or "/" in host or "," in target or not port.isdecimal():
        return None
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _connected(place: tuple[str, int], ends_at: float) -> Iterator[socket.socket]:
    host, port = place
    if port:
        with socket.create_connection(place, timeout=_left_s(ends_at)) as connection:
            yield connection
        return
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_left_s(ends_at))
        connection.connect(host)
        yield connection


def _left_s(ends_at: float) -> float:
    # Some time always: 0 would mean not to wait, which fails in other ways.
    return max(0.01, ends_at - time.monotonic())
