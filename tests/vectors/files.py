"""Read the vectors as they are committed."""

import json
from typing import Any

from tests.vectors.generate import FOLDER
from tests.vectors.keys import ACTIVE, RETIRED
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet

# The key set that the good and bad codes are to be held against.
KEY_SET = KeySet.of(
    version=1, issued_at=0, expires_at=2**40, keys=[VerifyingKey(key.public) for key in (ACTIVE, RETIRED)]
)


def read(name: str) -> Any:
    """Return the content of a file of vectors."""
    return json.loads((FOLDER / name).read_text(encoding="ascii"))
