"""Faults of certificates, under load: renewed while gates scan, half written, about to run out."""

from collections.abc import Callable, Sequence

from loadtest.outages.fault import Fault
from loadtest.outages.scene import Scene
from loadtest.outages.signs import below
from loadtest.outages.tls_scene import LONG_DAYS, TlsScene
from verifier.health_rules import CERTIFICATE_LEFT_S

_SHORT_DAYS = 2


def _with_tls(do: Callable[[TlsScene], object]) -> Callable[[Scene], object]:
    def done(scene: Scene) -> object:
        if not isinstance(scene, TlsScene):
            raise TypeError(f"expected verifiers with TLS, got {type(scene).__name__}")
        return do(scene)

    return done


def _leave(scene: Scene) -> None:
    """It is as it should be."""


FAULTS: Sequence[Fault] = (
    Fault(
        "certificate-renewed",
        "a new certificate is written over the old one, and SIGHUP",
        _with_tls(lambda scene: scene.renew(LONG_DAYS)),
        _leave,
    ),
    Fault(
        "certificate-broken",
        "half a certificate is written over the old one, and SIGHUP",
        _with_tls(TlsScene.break_off),
        _with_tls(TlsScene.restore),
    ),
    Fault(
        "certificate-running-out",
        "the certificate ends in two days",
        _with_tls(lambda scene: scene.renew(_SHORT_DAYS)),
        _with_tls(lambda scene: scene.renew(LONG_DAYS)),
        below("tls_certificate_left_seconds", CERTIFICATE_LEFT_S),
    ),
)
