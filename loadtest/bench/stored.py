"""What a scan takes in the register, once archived: the row, and its places in the indices."""

import random
import time
from contextlib import closing

from issuer.archive.entries import read_batch
from issuer.register.database import Database
from issuer.register.scans import Scans
from loadtest.bench.result import Result
from loadtest.bench.setting import Setting
from verifier.v1 import verifier_pb2 as pb
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.wire.scan_log import frame

_SCANS = 40_000
_A_TIME = 1_000
_GATES = 1_000
_CREDENTIALS = 25_000_000


def measure(setting: Setting, result: Result) -> None:
    """Note the bytes of a scan in a register of SQLite."""
    path = setting.folder / "archived.db"
    database = Database.create(path)
    empty_bytes = path.stat().st_size
    rng = random.Random(1)
    with closing(database):
        scans = Scans(database=database)
        for start in range(0, _SCANS, _A_TIME):
            frames = (frame(_entry(number, rng)) for number in range(start, start + _A_TIME))
            scans.store(read_batch(b"".join(frames)).rows)
    result.cost("register_bytes_a_scan", (path.stat().st_size - empty_bytes) / _SCANS)


def _entry(number: int, rng: random.Random) -> bytes:
    now_ms = int(time.time() * 1000) + number
    entry = ScanLogEntry(
        scan_id=rng.randbytes(16).hex(),
        gate_id=f"gate-{rng.randrange(_GATES)}",
        verified_at_ms=now_ms,
        credential_index=rng.randrange(1, _CREDENTIALS),
        kind=pb.CREDENTIAL_KIND_PHONE,
        not_before=now_ms // 1000 - 20,
        expires_at=now_ms // 1000 + 40,
        verdict=pb.VERDICT_GREEN,
        colour=pb.COLOUR_GREEN,
        status_age_ms=200,
        code_hash=rng.randbytes(16),
    )
    return entry.SerializeToString()
