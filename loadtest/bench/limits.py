"""What signatures and reads cost on this machine, without anything of ours around them.

Of the libraries' verify calls, dalek's is the fastest, and the one that the verifier uses: a scan that is not
remembered cannot cost less. The aims of the project are against PyNaCl's.
"""

import random
from base64 import b64encode
from collections.abc import Callable, Mapping
from time import perf_counter

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open
from vodozemac import Ed25519PublicKey as DalekKey
from vodozemac import Ed25519Signature as DalekSignature

from loadtest.bench.measured import Measured, cpu_us, in_turns
from loadtest.bench.result import Result
from loadtest.bench.setting import LARGE, SMALL, Setting
from loadtest.city import City
from verifier.mirror import MemoryTable
from verifier.wire.code import code_sig_structure, decode_qr_text
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.status_record import RECORD_BYTES

PYNACL, DALEK = "PyNaCl", "dalek"
_READS = 200_000


def verify_calls(city: City) -> Mapping[str, Callable[[], object]]:
    """Return a verify call of each library, by name, and that of the verifier, which has its own checks."""
    signed = decode_qr_text(city.code(0))
    message = code_sig_structure(signed.key_id, signed.payload)
    public_key = city.public_key
    openssl = Ed25519PublicKey.from_public_bytes(public_key)
    dalek = DalekKey.from_base64(_base64(public_key))
    dalek_signature = DalekSignature.from_base64(_base64(signed.signature))
    ours = VerifyingKey(public_key)
    return {
        PYNACL: lambda: crypto_sign_open(signed.signature + message, public_key),
        "OpenSSL": lambda: openssl.verify(signed.signature, message),
        DALEK: lambda: dalek.verify_signature(message, dalek_signature),
        "dalek, as the verifier calls it": lambda: ours.verifies(signed.signature, message),
    }


def measure(setting: Setting, result: Result) -> None:
    """Add the cost of signatures and reads."""
    calls = verify_calls(setting.city())
    verifying = in_turns({name: _cpu_of(call) for name, call in calls.items()})
    result.add(
        "limits", *(Measured(f"{name}: verify, CPU", "µs", found) for name, found in verifying.items())
    )
    tables = {records: _table(records) for records in (SMALL, LARGE)}
    reads = in_turns({records: _reading(table, records) for records, (table, _) in tables.items()})
    for records, found in reads.items():
        what = f"read of one record of {records:,} at random, from Python"
        result.add("limits", Measured(what, "ns", found))
    content = tables[LARGE][1]
    found = in_turns({LARGE: lambda: _read_through(content)})[LARGE]
    result.add("limits", Measured(f"memory read in a row, {len(content) / 1e6:.0f} MB", "GB/s", found))


def _base64(content: bytes) -> str:
    return b64encode(content).rstrip(b"=").decode()


def _cpu_of(call: Callable[[], object]) -> Callable[[], float]:
    return lambda: cpu_us(call)


def _table(records: int) -> tuple[MemoryTable, bytes]:
    # Written to: pages that never were are all the same one.
    content = b"\1" * (records * RECORD_BYTES)
    return MemoryTable(memoryview(content)), content


def _reading(table: MemoryTable, records: int) -> Callable[[], float]:
    indices = random.Random(1).choices(range(records), k=_READS)

    def read() -> float:
        record = table.record
        began = perf_counter()
        for index in indices:
            record(index)
        return (perf_counter() - began) / _READS * 1e9

    return read


def _read_through(content: bytes) -> float:
    """Look for a byte that is not there, which memchr does as fast as the memory is."""
    began = perf_counter()
    content.find(b"\2")
    return len(content) / (perf_counter() - began) / 1e9
