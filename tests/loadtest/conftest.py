"""One issuer and one verifier for all tests that only enrol people of their own and scan."""

from collections.abc import Iterator

import pytest

from loadtest.residents import Staff
from loadtest.stage import Stage, stage
from tests.quick_stage import quick_stages


@pytest.fixture(scope="package", autouse=True)
def _quick_stages() -> Iterator[None]:
    with quick_stages():
        yield


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give the running parts."""
    with stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture(scope="package")
def address(running: Stage) -> str:
    """Return where a verifier is."""
    return running.start_verifier()


@pytest.fixture(scope="package")
def staff(running: Stage) -> Iterator[Staff]:
    """Give the two persons of the issuer."""
    with running.staff() as staff:
        yield staff
