"""A log that cannot be written ends nothing."""

import json
import os
import subprocess
import sys
import textwrap

from verifier.log_writer import MAX_LINES

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


# Lines of the log, as they come.
LOGGING = """
    import os, structlog, sys, time
    from verifier.logs import configure_logs, finish_logs
    configure_logs("test")
    log = structlog.get_logger("x")
"""


def start(script: str) -> "subprocess.Popen[str]":
    """Start a script whose standard error is a pipe, and whose standard output one that is read."""
    code = textwrap.dedent(LOGGING) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_pipe_that_nobody_reads_holds_up_nothing_and_what_was_dropped_is_told() -> None:
    with start("""
        from verifier.loop import Loop
        steps = 0
        def step():
            global steps
            steps += 1
            log.warning("trouble", trouble="x" * 200 + str(steps))
        loop = Loop(step, name="mirror", pause_s=0.0, retry_s=0.0001)
        loop.start()
        while steps < 3_000:
            time.sleep(0.01)
        loop.stop()
        print(steps, flush=True)
        time.sleep(0.2)
        log.info("last")
    """) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        steps = int(process.stdout.readline())
        lines = [json.loads(line) for line in process.stderr]
        assert process.wait(30) == 0
        troubles = [line for line in lines if line["event"] == "trouble"]
        (dropped,) = [line for line in lines if line["event"] == "log lines dropped"]
        kept = [int(line["trouble"].rpartition("x")[2]) for line in troubles]
        assert kept == list(range(1, len(kept) + 1))
        assert dropped["service"] == "test"
        # The loop's, and perhaps the last one, if it came before all were read.
        assert len(kept) + dropped["lines"] + (lines[-1]["event"] == "last") == steps + 1
        assert MAX_LINES <= len(kept) < steps


def test_lines_arrive_whole_and_in_order_and_the_last_ones_too() -> None:
    with start("""
        for number in range(900):
            log.info("line", number=number, filling="x" * 300)
        raise RuntimeError("the end")
    """) as process:
        _, said = process.communicate(timeout=30)
        lines = [json.loads(line) for line in said.splitlines()]
        assert [line.get("number") for line in lines] == [*range(900), None]
        assert lines[-1]["event"] == "uncaught exception"


def test_the_end_waits_for_a_pipe_that_nobody_reads_only_so_long() -> None:
    with start("""
        for _ in range(900):
            log.info("line", filling="x" * 300)
        begun_s = time.monotonic()
        finish_logs()
        print(0.4 < time.monotonic() - begun_s < 5, flush=True)
    """) as process:
        try:
            assert process.wait(30) == 0
            assert process.stdout is not None
            assert process.stdout.read() == "True\n"
        finally:
            process.kill()
            process.communicate()


def test_a_process_that_was_forked_writes_its_own_lines_and_no_others() -> None:
    with start("""
        log.info("parent")
        if os.fork() == 0:
            log.info("child")
            finish_logs()
            os._exit(0)
        os.wait()
    """) as process:
        _, said = process.communicate(timeout=30)
        assert sorted(json.loads(line)["event"] for line in said.splitlines()) == ["child", "parent"]


def test_a_line_that_comes_when_python_ends_is_written_as_well() -> None:
    with start("""
        import atexit
        atexit.register(log.info, "last")
        log.info("first")
    """) as process:
        _, said = process.communicate(timeout=30)
        assert [json.loads(line)["event"] for line in said.splitlines()] == ["first", "last"]
