"""What a code of a bundle costs: in the core, and through IssueBundles of a running issuer.

Raw signing, the core and the issuer take turns on one core. The core is signing with the check of one code
of each bundle; the issuer adds the register, the rate limit in Redis, protobuf and gRPC.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from issuer.client import IssuerClient
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.keys.ring import Signing
from issuer.signing import Credential, sign_bundle, windows_of
from issuer.v1 import issuer_pb2 as pb
from loadtest.bench.measured import Measured, cpu_us, on_core
from loadtest.corpus import Enrolled
from verifier.authenticate import authenticate
from verifier.wire.code import CredentialKind, code_sig_structure, decode_qr_text
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import CodeError
from verifier.wire.key_set import KeySet, read_key_set

# An hour of rotation.
WINDOWS = 120

_ROUNDS = 5  # fewer than the bundles that a credential may fetch at once
_BUNDLES = 250
_NOW = 1_800_000_000


class WrongBundle(Exception):
    """The issuer signed something else than it was asked for; the figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class SigningCost:
    """CPU of one code each, microseconds."""

    libsodium: Measured  # a bare signature, as the issuer makes it
    openssl: Measured
    core: Measured
    issuer: Measured


def measure_signing(
    client: IssuerClient, *, issuer_pid: int, root: VerifyingKey, population: Sequence[Enrolled]
) -> SigningCost:
    """Measure; raises WrongBundle."""
    signed = client.issuer.GetKeySet(pb.GetKeySetRequest()).signed_key_set
    key_set = read_key_set(signed, root)
    secret = random.Random(1).randbytes(32)
    key, openssl_key = SecretKeyStore(secret), Ed25519PrivateKey.from_private_bytes(secret)
    message = _message(key)
    samples: tuple[list[float], ...] = ([], [], [], [])
    for _ in range(_ROUNDS):
        with on_core(0, psutil.Process()):
            samples[0].append(cpu_us(lambda: key.sign(message)))
            samples[1].append(cpu_us(lambda: openssl_key.sign(message)))
            samples[2].append(_core_us(key))
        samples[3].append(_issuer_us(client, psutil.Process(issuer_pid), key_set, population))
    return SigningCost(
        Measured("libsodium sign, CPU", "µs", tuple(samples[0])),
        Measured("OpenSSL sign, CPU", "µs", tuple(samples[1])),
        Measured("a code in the core, CPU", "µs", tuple(samples[2])),
        Measured(f"a code of IssueBundles, {WINDOWS} windows each, issuer CPU", "µs", tuple(samples[3])),
    )


def _message(key: KeyStore) -> bytes:
    """What is signed for a code."""
    credential = Credential(CredentialKind.PHONE, 123_456, 1, "")
    windows = windows_of(credential, window_count=1, now=_NOW)
    (code,) = sign_bundle(credential, windows, signing=_signing(key), rng=random.Random(1))
    signed = decode_qr_text(code.qr_text)
    return code_sig_structure(signed.key_id, signed.payload)


def _core_us(key: KeyStore) -> float:
    signing, rng = _signing(key), random.Random(1)
    credentials = [Credential(CredentialKind.PHONE, index, 1, "") for index in range(1, 41)]
    began = time.process_time()
    for credential in credentials:
        windows = windows_of(credential, window_count=WINDOWS, now=_NOW)
        sign_bundle(credential, windows, signing=signing, rng=rng)
    return (time.process_time() - began) / (len(credentials) * WINDOWS) * 1e6


def _signing(key: KeyStore) -> Signing:
    keys = [VerifyingKey(key.public_key)]
    return Signing(key, key_id_of(key), KeySet.of(version=1, issued_at=0, expires_at=2 * _NOW, keys=keys))


def _issuer_us(
    client: IssuerClient, issuer: psutil.Process, key_set: KeySet, population: Sequence[Enrolled]
) -> float:
    indices = [one.credential_index for one in population[:_BUNDLES]]
    request = pb.IssueBundlesRequest(credential_indices=indices, window_count=WINDOWS)
    with on_core(0, issuer), on_core((psutil.cpu_count() or 1) - 1, psutil.Process()):
        before = issuer.cpu_times()
        answers = list(client.issuer.IssueBundles(request))
        after = issuer.cpu_times()
    _require_right(answers, indices, key_set)
    cpu_s = after.user + after.system - before.user - before.system
    return cpu_s / (len(indices) * WINDOWS) * 1e6


def _require_right(
    answers: Sequence[pb.IssueBundlesResponse], indices: Sequence[int], key_set: KeySet
) -> None:
    if [answer.credential_index for answer in answers] != list(indices):
        raise WrongBundle("other credentials were answered than were asked for")
    for answer in answers:
        if len(answer.bundle.codes) != WINDOWS:
            raise WrongBundle(f"expected {WINDOWS} codes, got {len(answer.bundle.codes)}")
        code = random.choice(answer.bundle.codes)
        try:
            read = authenticate(code.qr_text.encode(), key_set, code.not_before)
        except CodeError as error:
            raise WrongBundle(f"a code is refused: {type(error).__name__}") from None
        if read.credential_index != answer.credential_index:
            raise WrongBundle("a code is of another credential")
