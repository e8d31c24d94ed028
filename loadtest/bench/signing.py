"""What a code of a bundle costs: in the core, and through IssueBundles of a running issuer.

Raw signing, the core and the issuer take turns on one core. The core is signing with the check of one code
of each bundle; the issuer adds the register, the rate limit in Redis, protobuf and gRPC.
"""

import random
import time
from collections.abc import Callable, Sequence

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from issuer.client import IssuerClient
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.keys.ring import Signing
from issuer.signing import Credential, sign_bundle, windows_of
from issuer.v1 import issuer_pb2 as pb
from loadtest.bench.answers import WrongAnswer
from loadtest.bench.measured import Measured, Ratio, cpu_us, first_core, in_turns, last_core, on_core
from loadtest.bench.result import Result
from loadtest.bench.setting import Setting
from loadtest.corpus import Enrolled
from loadtest.residents import Resident, enrol
from loadtest.stage import Stage
from verifier.authenticate import authenticate
from verifier.config import read_root_key
from verifier.wire.code import CredentialKind, code_sig_structure, decode_qr_text
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import CodeError
from verifier.wire.key_set import KeySet, read_key_set
from verifier.wire.status_record import Colour

# An hour of rotation.
WINDOWS = 120

_RESIDENTS = 250
_CORE_BUNDLES = 40
_NOW = 1_800_000_000
_CORE, _ISSUER = (
    f"a code in the core, {WINDOWS} windows, CPU",
    f"a code of IssueBundles, {WINDOWS} windows, CPU",
)
_LIBSODIUM, _OPENSSL = "PyNaCl: sign, CPU", "OpenSSL: sign, CPU"


def measure(setting: Setting, result: Result) -> None:
    """Add the cost of a code, and what it is against a bare signature; raises WrongAnswer."""
    stage = setting.stage()
    secret = random.Random(1).randbytes(32)
    key, openssl_key = SecretKeyStore(secret), Ed25519PrivateKey.from_private_bytes(secret)
    message = _message(key)
    with stage.client() as client:
        calls: dict[str, Callable[[], float]] = {
            _LIBSODIUM: lambda: cpu_us(lambda: key.sign(message)),  # as the issuer signs
            _OPENSSL: lambda: cpu_us(lambda: openssl_key.sign(message)),
            _CORE: lambda: _core_us(key),
            _ISSUER: _issuing(client, stage),
        }
        found = {what: Measured(what, "µs", samples) for what, samples in in_turns(calls).items()}
    result.add("issuer", *found.values(), found[_ISSUER].a_core_second("codes of IssueBundles"))
    for what, subject in (("a code in the core", found[_CORE]), ("a code of IssueBundles", found[_ISSUER])):
        result.ratio(Ratio.of("issuer", f"{what} / PyNaCl sign", subject, found[_LIBSODIUM], aim=2))
    result.ratio(
        Ratio.of("issuer", "a code of IssueBundles / OpenSSL sign", found[_ISSUER], found[_OPENSSL], aim=2)
    )
    result.cost("code_us", found[_ISSUER].median)


def _issuing(client: IssuerClient, stage: Stage) -> Callable[[], float]:
    """Enrol residents, and return what issues a bundle to each and tells the CPU of a code."""
    residents = [
        Resident(f"王小{number}", "ID", f"bench{number}", "north", Colour.GREEN)
        for number in range(_RESIDENTS)
    ]
    with stage.staff() as staff:
        population = enrol(staff, residents, lambda _: None)
    root = read_root_key(stage.issuer_folder.root_public_key)
    key_set = read_key_set(client.issuer.GetKeySet(pb.GetKeySetRequest()).signed_key_set, root)
    assert stage.issuer is not None  # noqa: S101 - a stage that is set up has one
    issuer = psutil.Process(stage.issuer.pid)
    return lambda: _issuer_us(client, issuer, key_set, population)


def _message(key: KeyStore) -> bytes:
    """What is signed for a code."""
    credential = Credential(CredentialKind.PHONE, 123_456, 1, "")
    windows = windows_of(credential, window_count=1, now=_NOW)
    (code,) = sign_bundle(credential, windows, signing=_signing(key), rng=random.Random(1))
    signed = decode_qr_text(code.qr_text)
    return code_sig_structure(signed.key_id, signed.payload)


def _core_us(key: KeyStore) -> float:
    signing, rng = _signing(key), random.Random(1)
    credentials = [Credential(CredentialKind.PHONE, index, 1, "") for index in range(1, _CORE_BUNDLES + 1)]
    with on_core(first_core(), psutil.Process()):
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
    indices = [one.credential_index for one in population]
    request = pb.IssueBundlesRequest(credential_indices=indices, window_count=WINDOWS)
    with on_core(first_core(), issuer), on_core(last_core(), psutil.Process()):
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
        raise WrongAnswer("other credentials were answered than were asked for")
    for answer in answers:
        if len(answer.bundle.codes) != WINDOWS:
            raise WrongAnswer(f"expected {WINDOWS} codes, got {len(answer.bundle.codes)}")
        code = random.choice(answer.bundle.codes)
        try:
            read = authenticate(code.qr_text.encode(), key_set, code.not_before)
        except CodeError as error:
            raise WrongAnswer(f"a code is refused: {type(error).__name__}") from None
        if read.credential_index != answer.credential_index:
            raise WrongAnswer("a code is of another credential")
