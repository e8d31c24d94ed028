"""A wheel built from the tree runs outside the tree."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of the wheel, in an otherwise empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run(unpacked: Path, folder: Path, *arguments: str) -> str:
    environment = dict(os.environ, PYTHONPATH=str(unpacked), GATELIGHT_PASSPHRASE="of a test")
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_it_holds_the_product_with_its_stubs_and_nothing_else(unpacked: Path) -> None:
    folders = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert folders == {"verifier", "issuer"}
    for stub in ("verifier/v1/verifier_pb2_grpc.py", "issuer/v1/issuer_pb2.pyi", "verifier/py.typed"):
        assert (unpacked / stub).exists()


def test_its_own_files_are_what_runs(unpacked: Path, tmp_path: Path) -> None:
    where = run(
        unpacked, tmp_path, "-c", "import verifier, issuer; print(verifier.__file__, issuer.__file__)"
    )
    assert all(path.startswith(str(unpacked)) for path in where.split())


def test_both_commands_run(unpacked: Path, tmp_path: Path) -> None:
    assert "serve" in run(unpacked, tmp_path, "-m", "verifier", "--help")
    run(unpacked, tmp_path, "-m", "issuer", "init", "--folder", "issuer")
    assert (tmp_path / "issuer" / "root.pub").exists()
