"""The issuer is killed under load: once here, a hundred times by `python -m loadtest kills`."""

import sqlite3

import pytest

from issuer.register.entries import CredentialStanding
from loadtest import kills
from loadtest.kill_load import Ledger
from verifier.verdict import Verdict
from verifier.wire.status_record import Colour

GREEN = kills.Entry(CredentialStanding.ACTIVE, 1, Colour.GREEN, 0, 0)


@pytest.mark.timeout(300)
def test_nothing_is_lost_when_the_issuer_is_killed() -> None:
    assert kills.run(count=1, seed=7) == 0


def test_what_was_acknowledged_and_is_missing_is_found() -> None:
    register = sqlite3.connect(":memory:")
    register.execute("CREATE TABLE status_changes (evidence, external_id)")
    register.execute("INSERT INTO status_changes VALUES ('whole', 'a'), ('whole', 'b'), ('half', 'c')")
    ledger = Ledger(
        acknowledged_changes={"whole": 2, "gone": 1},
        unanswered_changes={"half": 2, "never": 5},
        credentials={1: (2, CredentialStanding.ACTIVE), 2: (2, CredentialStanding.ACTIVE)},
        uncertain_credentials={2},
        external_ids={"status_changes": {"a", "d"}},
    )
    found = list(kills._lost(register, {1: GREEN, 2: GREEN}, ledger))
    register.close()
    assert found == [
        "1 changes were acknowledged, 0 are in the register",
        "a call of 2 changes is there by half: 1",
        "1 acknowledged rows of status_changes are missing",
        "credential 1: generation 2 ACTIVE was acknowledged",
    ]


@pytest.mark.parametrize(
    ("state", "colour", "verdict"),
    [
        (CredentialStanding.ACTIVE, Colour.NONE, Verdict.NO_STATUS),
        (CredentialStanding.ACTIVE, Colour.YELLOW, Verdict.YELLOW),
        (CredentialStanding.SUSPENDED, Colour.RED, Verdict.SUSPENDED),
        (CredentialStanding.REVOKED, Colour.GREEN, Verdict.REVOKED),
        (CredentialStanding.EXPIRED, Colour.GREEN, Verdict.REVOKED),
    ],
)
def test_the_register_says_what_a_gate_should_say(
    state: CredentialStanding, colour: Colour, verdict: Verdict
) -> None:
    assert kills.Entry(state, 1, colour, 0, 0).verdict is verdict
