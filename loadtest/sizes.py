"""How many bytes a scan is, on the wire and in the scan log: real messages of real code, weighed."""

import random
import time
import uuid
from dataclasses import dataclass
from math import ceil

from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.keys.ring import Signing
from issuer.signing import Credential, IssuedCode, sign_bundle, windows_of
from issuer.v1 import issuer_pb2
from verifier.access.callers import Credentials
from verifier.access.gatekeeper import ListGatekeeper
from verifier.calls import Calls
from verifier.counters import Counters
from verifier.host.worker_config import GateAuth
from verifier.key_set_follower import KeySets
from verifier.mirror import HeapTable, Mirror
from verifier.service import Verifier
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.code import CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet, key_set_to_sign
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack

BATCH_SCANS = 100
WINDOWS_A_BUNDLE = 120
_INDEX = 12_345_678  # of a large city
_DAY_S = 86_400
# Estimates. What HTTP/2 adds to a call: heads of frames, gRPC's prefix, headers from HPACK's table; h2load
# counted 76 bytes of an empty answer.
_HTTP2_REQUEST, _HTTP2_RESPONSE = 60, 80
# What Ethernet, IP and TCP with timestamps add to a segment; every second segment is acknowledged.
_SEGMENT_HEAD, _SEGMENT = 70, 1_448


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one scan or code."""

    scan_in: float  # of a unary call, on the wire to the verifier
    scan_out: float
    batch_scan_in: float  # of a batch of 100
    batch_scan_out: float
    journal_entry: float  # in the journal, and again in Redis until it is archived
    bundle_code: float  # of a bundle of 120 codes, without what is below gRPC


def weigh() -> Sizes:
    """Return the sizes of a green scan with a bearer key, and of a code on its way to a phone."""
    now = int(time.time())
    key = SecretKeyStore(random.Random(1).randbytes(32))
    codes = _bundle(key, now)
    request = pb.VerifyCodeRequest(qr_text=codes[0].qr_text, scan_id=uuid.uuid4().hex, gate_id="north-3/12")
    frames = _Frames()
    calls = _calls(key, frames, now)
    caller = calls.identify(Credentials())
    response = calls.verify_code(request, caller)
    batch_request = pb.VerifyCodesRequest(scans=[request] * BATCH_SCANS)
    batch_response = pb.VerifyCodesResponse(verdicts=[response] * BATCH_SCANS)
    scan_in, scan_out = _on_wire(request.ByteSize(), response.ByteSize())
    batch_in, batch_out = _on_wire(batch_request.ByteSize(), batch_response.ByteSize())
    bundle = issuer_pb2.IssueBundleResponse(
        codes=[
            issuer_pb2.SignedCode(
                qr_text=code.qr_text.decode(), not_before=code.not_before, expires_at=code.expires_at
            )
            for code in codes
        ]
    )
    return Sizes(
        scan_in,
        scan_out,
        batch_in / BATCH_SCANS,
        batch_out / BATCH_SCANS,
        frames.length,
        bundle.ByteSize() / len(codes),
    )


class _Frames:
    """A journal that only counts bytes."""

    length = 0

    def append(self, frames: bytes) -> None:
        """Count."""
        self.length += len(frames)


def _on_wire(request: int, response: int) -> tuple[int, int]:
    """Return the bytes of a call to the server and from it."""
    request, response = request + _HTTP2_REQUEST, response + _HTTP2_RESPONSE
    sent, answered = ceil(request / _SEGMENT), ceil(response / _SEGMENT)
    return (
        request + _SEGMENT_HEAD * (sent + ceil(answered / 2)),
        response + _SEGMENT_HEAD * (answered + ceil(sent / 2)),
    )


def _bundle(key: KeyStore, now: int) -> list[IssuedCode]:
    credential = Credential(CredentialKind.PHONE, _INDEX, 1, "")
    windows = windows_of(credential, window_count=WINDOWS_A_BUNDLE, now=now)
    signing = Signing(key, key_id_of(key), _key_set(key, now))
    return list(sign_bundle(credential, windows, signing=signing, rng=random.Random(1)))


def _key_set(key: KeyStore, now: int) -> KeySet:
    return KeySet.of(version=1, issued_at=now, expires_at=now + _DAY_S, keys=[VerifyingKey(key.public_key)])


def _calls(key: KeyStore, frames: _Frames, now: int) -> Calls:
    """Return a verifier in this process, without a server, that knows one green credential."""
    root = SecretKeyStore(random.Random(2).randbytes(32))
    protected, payload, covered = key_set_to_sign(_key_set(key, now), VerifyingKey(root.public_key))
    key_sets = KeySets(VerifyingKey(root.public_key))
    key_sets.offer(cose.assemble_sign1(protected, payload, root.sign(covered)))
    table = HeapTable(_INDEX + 1)
    record = StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, 0, now // 60)
    table.apply([(_INDEX, pack(record))])
    mirror = Mirror(partitions=1, monotonic=time.monotonic)
    mirror.partitions[0].swap_in(table, time.monotonic() - 0.5)
    return Calls(
        verifier=Verifier(key_sets=key_sets, mirror=mirror, clock=time.time),
        gatekeeper=ListGatekeeper(gate_auth=GateAuth.NONE, policy=Policy()),
        entries=None,
        journal=frames,
        counters=Counters(),
    )
