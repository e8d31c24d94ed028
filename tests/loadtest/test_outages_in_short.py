"""Gates go on through every fault, and operators see it: short versions of all of `make outages`."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from loadtest.outages.fault import Fault, SceneBuilder
from loadtest.outages.faults import FAULTS
from loadtest.outages.host_scene import host_scene, pair_scene
from loadtest.outages.redis_topology import cluster_scene, sentinel_scene
from loadtest.outages.tls_scene import tls_scene
from tests.loadtest.outage_trials import Trials


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.cls is not None:
        needing = [fault for fault in FAULTS if fault.needs is metafunc.cls.needs]
        metafunc.parametrize("fault", needing, ids=[fault.name for fault in needing])


@pytest.fixture(scope="class")
def trials(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    trials = Trials(request.cls.needs, lambda: tmp_path_factory.mktemp("scene"))
    yield trials
    trials.close()


# A class for each scene, so that they may be tested at the same time (--dist loadscope).
class Short:
    needs: ClassVar[Any]

    def test_gates_go_on_and_operators_know(self, trials: Trials, fault: Fault) -> None:
        assert trials.complaints_of(fault) == {}


class TestOneRedis(Short):
    needs: ClassVar[SceneBuilder] = tls_scene


class TestSentinels(Short):
    needs: ClassVar[SceneBuilder] = sentinel_scene


class TestCluster(Short):
    needs: ClassVar[SceneBuilder] = cluster_scene


class TestHost(Short):
    needs: ClassVar[SceneBuilder] = host_scene


class TestSideBySide(Short):
    needs: ClassVar[SceneBuilder] = pair_scene


def test_no_fault_is_left_out() -> None:
    tested = {scene_tests.needs for scene_tests in Short.__subclasses__()}
    assert {fault.needs for fault in FAULTS} == tested
