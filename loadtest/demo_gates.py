"""The act of the demo at many gates: one entry for a code, a copied code, and no scan lost with a worker."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from typing import TypeVar

import psutil
from rich.table import Table

from issuer.v1 import gates_pb2, scans_pb2
from loadtest.checks import Checks
from loadtest.residents import Staff
from loadtest.stage import Stage
from verifier.bearer import hash_key, make_key
from verifier.client import VerifierClient
from verifier.verdict import Verdict

_SCANS = 200
_WAIT_S = 20
_LOOK_S = 0.1

_Found = TypeVar("_Found")


class Gates:
    """The act, on a stage whose archive runs."""

    def __init__(self, running: Stage, staff: Staff, address: str, checks: Checks) -> None:
        self._stage = running
        self._clerk = staff.clerk
        self._address = address
        self._checks = checks

    def play(self, table: Table, qr_text: Callable[[], bytes], credential_index: int) -> None:
        """Add the rows to `table`; `qr_text` gives a fresh code of the credential."""
        self._enter_once(table, qr_text())
        self._copy(table, qr_text(), credential_index)
        self._kill_a_worker(table, qr_text())

    def _enter_once(self, table: Table, qr_text: bytes) -> None:
        policy = gates_pb2.GatePolicy(is_one_entry=True)
        self._clerk.gates.AddGroup(gates_pb2.AddGroupRequest(name="stadium", policy=policy))
        credential = gates_pb2.GateCredential(bearer_key_sha256=hash_key(make_key()))
        gate = gates_pb2.AddGateRequest(gate_id="stadium-1", group="stadium", credential=credential)
        self._clerk.gates.AddGate(gate)
        began = time.perf_counter()
        with VerifierClient(self._address, gate_id="stadium-1") as verifier:
            # The policy is on its way: until it is there, a code opens as often as it is shown.
            second = self._until(
                lambda: verifier.verify(qr_text).verdict, lambda verdict: verdict is Verdict.ALREADY_USED
            )
            took = f"{time.perf_counter() - began:.1f} s after the gate's policy was set"
        row = self._checks.check("one entry a code: shown again", "ALREADY_USED", _name(second), took)
        table.add_row(*row)

    def _copy(self, table: Table, qr_text: bytes, credential_index: int) -> None:
        for gate_id in ("harbour-2", "airport-9"):
            with VerifierClient(self._address, gate_id=gate_id) as verifier:
                verifier.verify(qr_text)
        began = time.perf_counter()
        request = scans_pb2.ListSuspectsRequest(credential_index=credential_index)
        found = self._until(
            lambda: self._suspected(request), lambda pairs: ("harbour-2", "airport-9") in pairs
        )
        note = f"{time.perf_counter() - began:.1f} s after the second scan"
        what = "suspect" if ("harbour-2", "airport-9") in found else "nothing"
        table.add_row(*self._checks.check("one code at two gates", "suspect", what, note))

    def _suspected(self, request: scans_pb2.ListSuspectsRequest) -> set[tuple[str, str]]:
        suspects = self._clerk.scans.ListSuspects(request).suspects
        return {(one.first_gate_id, one.second_gate_id) for one in suspects}

    def _kill_a_worker(self, table: Table, qr_text: bytes) -> None:
        worker = psutil.Process(self._stage.verifiers[0].pid).children()[0]
        with VerifierClient(self._address, gate_id="worker-test") as verifier:
            verdicts = set()
            for number in range(_SCANS):
                if number == _SCANS // 2:
                    os.kill(worker.pid, signal.SIGKILL)
                verdicts.add(verifier.verify(qr_text).verdict)
        row = self._checks.check(
            f"a worker is killed during {_SCANS} scans", "GREEN", "/".join(sorted(map(_name, verdicts)))
        )
        table.add_row(*row)
        request = scans_pb2.SearchScansRequest(gate_id="worker-test", page_size=1_000)
        scans = self._until(
            lambda: self._clerk.scans.SearchScans(request).scans, lambda found: len(found) >= _SCANS
        )
        same_code = {scan.code_hash for scan in scans} == {hashlib.sha256(qr_text).digest()[:16]}
        note = "by their scan_ids, without a name or a code" if same_code else "of another code"
        row = self._checks.check("and its scans are in the archive", _SCANS, len(scans), note)
        table.add_row(*row)

    @staticmethod
    def _until(ask: Callable[[], _Found], holds: Callable[[_Found], bool]) -> _Found:
        """Ask again and again until it holds, or for 20 s; return the last answer."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            found = ask()
            if holds(found) or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_S)


def _name(verdict: Verdict | None) -> str:
    return "none" if verdict is None else verdict.name
