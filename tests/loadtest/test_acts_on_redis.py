"""The mornings on which Redis is gone, or what lies there changes for everybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.town import Town, town
from tests.loadtest.replay import replay


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town(tmp_path_factory.mktemp("town"), engine="grpcio", workers=1) as here:
        yield here


def test_no_honest_code_is_refused_when_key_and_epoch_change(here: Town, tmp_path: Path) -> None:
    total = replay(here, "rollover", tmp_path).conclude().total()
    assert total.failed == 0
    assert total.verdicts["GREEN"] > 0


def test_verdicts_stay_right_without_redis_and_with_an_empty_one(here: Town, tmp_path: Path) -> None:
    total = replay(here, "dependency-down", tmp_path).conclude().total()
    assert total.failed == 0
    assert {"YELLOW", "RED"} & set(total.verdicts)
