"""Faults of the disk below journals and kept states: it is full, or a folder is gone, and a file there."""

import errno
import resource
from collections.abc import Sequence
from pathlib import Path

from loadtest.outages.fault import Fault
from loadtest.outages.host_scene import HostScene, host_scene, on_host
from loadtest.outages.signs import any_of, in_trouble

_FILLER = "filler"
_PIECE = bytes(1 << 20)
_ASIDE = ".aside"


def _fill(scene: HostScene) -> None:
    """Leave no room for a byte; without a small disk, let the workers write no file any more."""
    for verifier in scene.verifiers:
        if scene.is_disk_small:
            _fill_up(scene.journal_of(verifier).parent / _FILLER)
        else:
            for worker in verifier.workers():
                _, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, hard))


def _make_room(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        if scene.is_disk_small:
            (scene.journal_of(verifier).parent / _FILLER).unlink(missing_ok=True)
        else:
            for worker in verifier.workers():
                _, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (hard, hard))


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        piece = _PIECE
        while piece:
            try:
                file.write(piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece = piece[: len(piece) // 2]


def _put_aside(folder: Path) -> None:
    """Take a folder away and put a file there; root, for whom modes are nothing, cannot write then either."""
    folder.rename(folder.with_suffix(_ASIDE))
    folder.touch()


def _put_back(folder: Path) -> None:
    aside = folder.with_suffix(_ASIDE)
    if aside.exists():
        folder.unlink()
        aside.rename(folder)


def _put_journals_aside(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        _put_aside(scene.journal_of(verifier))


def _put_journals_back(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        _put_back(scene.journal_of(verifier))


def _put_states_aside(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        _put_aside(scene.state_of(verifier))


def _put_states_back(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        _put_back(scene.state_of(verifier))


FAULTS: Sequence[Fault] = (
    Fault(
        "journal-full",
        "the disk of the scan log is full",
        on_host(_fill),
        on_host(_make_room),
        in_trouble("journal"),
        needs=host_scene,
    ),
    Fault(
        "journal-unwritable",
        "a file lies where the folder of the scan log was",
        on_host(_put_journals_aside),
        on_host(_put_journals_back),
        any_of(in_trouble("journal"), in_trouble("scan_log")),
        needs=host_scene,
    ),
    Fault(
        "kept-state-unwritable",
        "a file lies where the folder of the kept state was",
        on_host(_put_states_aside),
        on_host(_put_states_back),
        in_trouble("kept_state"),
        needs=host_scene,
    ),
)
