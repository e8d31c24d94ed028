"""Fixtures of the tests of the command line."""

import pytest

from tests.issuer.cli.commands import Run, runs_against
from tests.issuer.running_issuer import RunningIssuer


@pytest.fixture
def run(running_issuer: RunningIssuer) -> Run:
    """Runs a command against a running issuer."""
    return runs_against(running_issuer)


@pytest.fixture
def approver(running_issuer: RunningIssuer) -> tuple[str, str]:
    """The options with which a command is the second person's."""
    return ("--key-file", str(running_issuer.folder.approver_client_key))
