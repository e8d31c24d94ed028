"""Stages whose issuers are initialised in this process, with the cheapest key files that others will open.

`gatelight-issuer init` itself, with key files as expensive as they have to be, is tested in
tests/issuer/test_process.py.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from issuer.initialise import initialise
from loadtest import stage
from loadtest.stage import Stage


@contextmanager
def quick_stages() -> Iterator[None]:
    """Have every stage made quickly for a while."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Stage, "_initialise", _initialise)
        yield


def _initialise(made: Stage) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("issuer.key_file._N", 1 << 14)
        patched.setattr("issuer.key_file._ACCEPTED_N", (1 << 14,))
        initialise(
            made.issuer_folder,
            passphrase=stage._PASSPHRASE.encode(),
            now=int(time.time()),
            register_url=made._register_url,
        )
