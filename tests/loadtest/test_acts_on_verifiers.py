"""The mornings on which a verifier stands still, or another one joins; and a town that stands it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.processes import ProcessError
from loadtest.scenarios import SCENARIOS
from loadtest.town import Town, town
from tests.loadtest.replay import replay


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    acts = SCENARIOS["cold-start"].acts
    with town(tmp_path_factory.mktemp("town"), engine="grpcio", workers=1, acts=acts) as here:
        yield here
        # Torn down while nothing answers.
        here.do("freeze-redis")
        here.do("freeze-verifier")


def test_goodput_is_back_after_a_storm_of_retries(here: Town, tmp_path: Path) -> None:
    thresholds = ("right_share=0.5", "recovered_s=60", "honest_p99_after_acts_ms=60000")
    total = replay(here, "retry-storm", tmp_path, thresholds=thresholds).conclude().total()
    assert total.retries > 0
    assert total.errors["DEADLINE_EXCEEDED"] > 0


def test_a_verifier_that_joins_at_full_load_is_right_from_its_first_answer(
    here: Town, tmp_path: Path
) -> None:
    # Long enough for a verifier to start on a busy machine.
    replayed = replay(here, "cold-start", tmp_path, duration_s=10)
    recording = replayed.conclude()
    assert recording.total().failed == 0
    assert "verifier-2" in {sample.name for sample in recording.servers}
    assert replayed.generated.never_asked == here.never_asked() == []


def test_a_town_has_no_place_for_more_verifiers_than_it_was_made_for(here: Town) -> None:
    with pytest.raises(ProcessError, match="no address"):
        here.do("start-verifier")


def test_an_act_that_nobody_knows_is_an_error(here: Town) -> None:
    with pytest.raises(ValueError, match="nobody can do 'sing'"):
        here.do("sing")
