"""Write the vectors of our own formats. Run as `make vectors`, or `python -m tests.vectors.generate`.

Everything follows from test keys and fixed times, so the files come out the same byte for byte; a test
compares them with what is committed. Other implementations can be held against the files alone:
README.md beside this file tells what stands in them.
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vectors import statuses
from tests.vectors.bad_codes import bad_codes
from tests.vectors.ed25519_edges import edges
from tests.vectors.gate_lists import bad_gate_lists, good_gate_lists
from tests.vectors.good_codes import good_codes
from tests.vectors.key_sets import bad_key_sets, good_key_sets
from tests.vectors.keys import ACTIVE, RETIRED, ROOT, STRANGER, KeyPair

FOLDER = Path(__file__).parent


def _good_codes() -> dict[str, Any]:
    codes = [
        {
            "name": code.name,
            "qr_text": code.qr_text,
            "now": code.now,
            "key_id": code.key.key_id.hex(),
            "kind": code.kind,
            "credential_index": code.credential_index,
            "generation": code.generation,
            "not_before": code.not_before,
            "expires_at": code.expires_at,
            "hint": code.hint,
        }
        for code in good_codes()
    ]
    return {"test_keys": _keys(ACTIVE, RETIRED), "codes": codes}


def _bad_codes() -> dict[str, Any]:
    codes = [
        {
            "name": code.name,
            # One character a byte (ISO 8859-1): not everything that a scanner reads is text.
            "qr_text": code.qr_text.decode("latin-1"),
            "now": code.now,
            "error": code.error,
            "verdict": code.verdict,
            "part": code.part,
            "beyond_cddl": code.beyond_cddl,
        }
        for code in bad_codes()
    ]
    return {"test_keys": _keys(ACTIVE, RETIRED), "codes": codes}


def _key_sets() -> dict[str, Any]:
    return {
        "test_keys": _keys(ROOT, ACTIVE, RETIRED, STRANGER),
        "good": [
            {
                "name": key_set.name,
                "signed": key_set.signed.hex(),
                "version": key_set.version,
                "issued_at": key_set.issued_at,
                "expires_at": key_set.expires_at,
                "public_keys": [key.public.hex() for key in key_set.keys],
            }
            for key_set in good_key_sets()
        ],
        "bad": [{"name": key_set.name, "signed": key_set.signed.hex()} for key_set in bad_key_sets()],
    }


def _gate_lists() -> dict[str, Any]:
    return {
        "test_keys": _keys(ACTIVE, RETIRED, ROOT, STRANGER),
        "good": [
            {
                "name": gate_list.name,
                "signed": gate_list.signed.hex(),
                "key_id": gate_list.key.key_id.hex(),
                "version": gate_list.version,
                "issued_at": gate_list.issued_at,
                "expires_at": gate_list.expires_at,
                "groups": [dataclasses.asdict(group) for group in gate_list.groups],
                "gates": [
                    {
                        "gate_id": gate.gate_id,
                        "group": gate_list.groups[gate.place].name,
                        "bearer_key_sha256s": [one.hex() for one in gate.bearer_keys],
                        "certificate_sha256s": [one.hex() for one in gate.certificates],
                    }
                    for gate in gate_list.gates
                ],
            }
            for gate_list in good_gate_lists()
        ],
        "bad": [{"name": gate_list.name, "signed": gate_list.signed.hex()} for gate_list in bad_gate_lists()],
    }


def _status_records() -> dict[str, Any]:
    return {
        "good": [
            {
                "name": record.name,
                "colour": record.colour,
                "state": record.state,
                "generation": record.generation,
                "reason": record.reason,
                "last_negative_test_min": record.last_negative_test_min,
                "stored": record.bits.to_bytes(8, "little").hex(),
            }
            for record in statuses.records()
        ],
        "bad": [bits.to_bytes(8, "little").hex() for bits in statuses.senseless_bits()],
    }


def _feed_entries() -> dict[str, Any]:
    return {
        "good": [
            {
                "name": entry.name,
                "updates": [
                    {"credential_index": index, "stored": bits.to_bytes(8, "little").hex()}
                    for index, bits in entry.updates
                ],
                "u": entry.encoded.hex(),
            }
            for entry in statuses.feed_entries()
        ],
        "bad": [{"name": name, "u": encoded.hex()} for name, encoded in statuses.broken_feed_entries()],
    }


def _ed25519_edges() -> dict[str, Any]:
    return {
        "signatures": [
            {
                "name": edge.name,
                "public_key": edge.public_key.hex(),
                "message": edge.message.hex(),
                "signature": edge.signature.hex(),
                "accepted": edge.accepted,
                "equations": sorted(edge.equations),
            }
            for edge in edges()
        ]
    }


def _keys(*keys: KeyPair) -> list[dict[str, str]]:
    return [
        {"name": key.name, "seed": key.seed.hex(), "public_key": key.public.hex(), "key_id": key.key_id.hex()}
        for key in keys
    ]


_FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "good_codes.json": _good_codes,
    "bad_codes.json": _bad_codes,
    "key_sets.json": _key_sets,
    "gate_lists.json": _gate_lists,
    "status_records.json": _status_records,
    "feed_entries.json": _feed_entries,
    "ed25519_edges.json": _ed25519_edges,
}


def generate(into: Path) -> list[Path]:
    """Write all files into a folder and return their paths."""
    written = []
    for name, content in _FILES.items():
        path = into / name
        path.write_text(json.dumps(content(), indent=1) + "\n", encoding="ascii")
        written.append(path)
    return written


if __name__ == "__main__":
    for path in generate(FOLDER):
        sys.stdout.write(f"wrote {path.relative_to(FOLDER.parent.parent)}\n")
