"""Fixtures of the tests of access."""

import pytest

from issuer.access.clients import Clients
from issuer.register.database import Database
from tests.issuer.access.staff import Staff


@pytest.fixture
def clients(database: Database) -> Clients:
    """The clients of a new register: none."""
    return Clients(database=database)


@pytest.fixture
def staff(clients: Clients) -> Staff:
    """Adds clients to it."""
    return Staff(clients)
