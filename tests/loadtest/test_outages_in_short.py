"""Gates go on through every fault, and operators see it: short versions of all of `make outages`."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest

from loadtest.outages import (
    clock_faults,
    disk_faults,
    host_faults,
    key_faults,
    long_faults,
    redis_faults,
    redis_topology,
    start_faults,
    tls_faults,
)
from loadtest.outages.fault import Fault
from loadtest.outages.faults import FAULTS
from tests.loadtest.outage_trials import Place, Trials, places_of

REDIS = redis_faults.FAULTS
TOPOLOGY = redis_topology.FAULTS
# One scene for all of them.
HOST = (*key_faults.FAULTS, *host_faults.FAULTS, *disk_faults.FAULTS, *clock_faults.FAULTS)
START = (*tls_faults.FAULTS, *start_faults.FAULTS, *long_faults.FAULTS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.cls is not None:
        metafunc.parametrize(("place", "fault"), places_of(metafunc.cls.faults, metafunc.cls.engine))


@pytest.fixture(scope="class")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    trials = Trials(lambda: tmp_path_factory.mktemp("scene"))
    yield trials
    trials.close()


# A class for each area and engine, so that they may be tested at the same time (--dist loadscope).
class Short:
    faults: ClassVar[Sequence[Fault]]
    engine: ClassVar[str]

    def test_gates_go_on_and_operators_know(self, trials: Trials, place: Place, fault: Fault) -> None:
        assert trials.outcome_of(place, fault).complaints == []


class TestRedisOnGrpcio(Short):
    faults, engine = REDIS, "grpcio"


class TestRedisOnEnvoy(Short):
    faults, engine = REDIS, "envoy"


class TestTopologyOnGrpcio(Short):
    faults, engine = TOPOLOGY, "grpcio"


class TestTopologyOnEnvoy(Short):
    faults, engine = TOPOLOGY, "envoy"


class TestHostOnGrpcio(Short):
    faults, engine = HOST, "grpcio"


class TestHostOnEnvoy(Short):
    faults, engine = HOST, "envoy"


class TestStartOnGrpcio(Short):
    faults, engine = START, "grpcio"


class TestStartOnEnvoy(Short):
    faults, engine = START, "envoy"


def test_no_fault_is_left_out() -> None:
    assert {fault.name for fault in (*REDIS, *TOPOLOGY, *HOST, *START)} == {fault.name for fault in FAULTS}
