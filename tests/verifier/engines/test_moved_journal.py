"""A journal's folder that is moved away under a running verifier: told of, and no scan is lost."""

import shutil
import time
from pathlib import Path

import pytest

from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.verifier.engines.serving import ENGINES, TIMEOUT_S, Served, publish, serving, stub
from tests.verifier.journal.scans import Stream
from verifier.v1 import scan_log_pb2 as log_pb
from verifier.wire.scan_log import ENTRIES_FIELD, read_frames


def _shipped(stream: Stream) -> set[str]:
    return {
        log_pb.ScanLogEntry.FromString(entry).scan_id
        for _, fields in stream.batches()
        for _, entry in read_frames(fields[ENTRIES_FIELD])
    }


def _scan_for(seconds: float, served: Served, scan_ids: set[str]) -> None:
    with served.channel() as channel:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            scan_id = f"scan-{len(scan_ids)}"
            stub(channel).VerifyCode(served.scan(scan_id=scan_id), timeout=TIMEOUT_S)
            scan_ids.add(scan_id)
            time.sleep(0.05)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_moved_under_a_verifier_loses_no_scan_and_is_told_of(
    engine: str, own_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    publish(own_redis.url)
    stream, scan_ids = Stream(own_redis.url), set[str]()
    with serving(engine, own_redis.url, tmp_path, "--state", str(tmp_path / "journal/state")) as served:
        _scan_for(0.5, served, scan_ids)
        shutil.move(tmp_path / "journal", tmp_path / "elsewhere")
        _scan_for(3, served, scan_ids)
        eventually(lambda: _shipped(stream) >= scan_ids, timeout_s=3 * TIMEOUT_S)
        log = served.log.read_text()
        assert "the journal's folder is not the one that was taken" in log
        assert "going on with the one at its path" in log
        assert (tmp_path / "journal/state/mirror").exists()
    stream.redis.close()
