"""The end of the certificate is that of the one in force: read when a configuration is taken."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.issuer.certificates import Authority
from tests.verifier.host.test_worker import Supervised
from verifier.host.certificate_life import CertificateLife
from verifier.host.worker_config import TlsFiles, WorkerConfig

_DAY_S = 86_400


def test_the_certificate_of_the_configuration_in_force_counts(tmp_path: Path) -> None:
    config = Supervised(tmp_path).config
    authority = Authority(tmp_path)
    pair = authority.issue("verifier")
    tls = TlsFiles(pair.certificate, pair.key)

    def configure(tls: TlsFiles | None) -> Callable[[int], WorkerConfig]:
        return lambda number: dataclasses.replace(config, number=number, tls=tls)

    in_force = configure(tls)
    now_s = time.time()
    life = CertificateLife(lambda: in_force, clock=lambda: now_s)
    life.take(in_force)
    authority.issue("verifier", days_from_now=3)  # in the same file, which no worker has read yet
    assert life.left_s() == pytest.approx(_DAY_S, abs=10)
    offered = configure(tls)
    life.take(offered)
    assert life.left_s() == pytest.approx(_DAY_S, abs=10)  # no worker of it serves yet
    pair.certificate.unlink()
    in_force = offered
    assert life.left_s() == pytest.approx(4 * _DAY_S, abs=10)
    now_s += 5 * _DAY_S
    assert life.left_s() == pytest.approx(-_DAY_S, abs=10)
    in_force = configure(tls)
    life.take(in_force)
    assert life.left_s() is None
    in_force = configure(None)
    life.take(in_force)
    assert life.left_s() is None


def test_one_that_never_came_into_force_does_not_count(tmp_path: Path) -> None:
    config = Supervised(tmp_path).config
    pair = Authority(tmp_path).issue("verifier")
    with_tls = dataclasses.replace(config, tls=TlsFiles(pair.certificate, pair.key))

    def in_force(_number: int) -> WorkerConfig:
        return config

    life = CertificateLife(lambda: in_force)
    life.take(in_force)
    for _ in range(3):
        life.take(lambda _number: with_tls)
    assert life.left_s() is None
    assert len(life._read) == 2
