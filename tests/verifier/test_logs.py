"""A log that cannot be written ends nothing."""

import os
import subprocess
import sys
import textwrap

SCRIPT = textwrap.dedent("""
    import structlog, sys
    from verifier.logs import configure_logs
    configure_logs("test")
    for _ in range(3):
        structlog.get_logger("x").warning("trouble")
    print("still here")
""")


def run(stderr: int) -> str:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=30, check=False)
    return done.stdout


def test_a_reader_that_is_gone_ends_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    assert run(write_end) == "still here\n"
    os.close(write_end)


def test_a_full_disk_ends_nothing() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    assert run(full) == "still here\n"
    os.close(full)
