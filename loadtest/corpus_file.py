"""A corpus on disk: JSON Lines, one scan each, the QR text in Base64 since not all of them are text."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

from loadtest.corpus import Specimen
from verifier.verdict import Verdict


def write_corpus(path: Path, specimens: Iterable[Specimen]) -> None:
    """Write specimens to `path`."""
    with path.open("w", encoding="ascii") as file:
        for specimen in specimens:
            scan = {
                "kind": specimen.kind,
                "qr_text": base64.b64encode(specimen.qr_text).decode(),
                "verdict": specimen.verdict.name,
            }
            file.write(json.dumps(scan) + "\n")


def read_corpus(path: Path) -> list[Specimen]:
    """Return the specimens in `path`."""
    with path.open(encoding="ascii") as file:
        scans = [json.loads(line) for line in file]
    return [
        Specimen(scan["kind"], base64.b64decode(scan["qr_text"]), Verdict[scan["verdict"]]) for scan in scans
    ]
