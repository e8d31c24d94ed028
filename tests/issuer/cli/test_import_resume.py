"""Imports that are stopped: by kill -9 anywhere, by Ctrl-C, by an issuer that is gone for a while."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from issuer.v1 import admin_pb2 as pb
from loadtest.stage import Stage, stage
from tests.eventually import eventually
from tests.issuer.cli.commands import Run, start, write_lines
from tests.issuer.cli.test_imports import HEADER, holder_lines, holders, rejected
from tests.issuer.running_issuer import RunningIssuer
from tests.quick_stage import quick_stages

ROWS = 9_000


def progress_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.progress")


def line_of(file: Path) -> int:
    """Return the line behind which an import of the file stands; 0 where none is under way."""
    try:
        return int(json.loads(progress_of(file).read_text())["line"])
    except FileNotFoundError:
        return 0


def has_reached(process: "subprocess.Popen[str]", file: Path, line: int) -> bool:
    """Wait until an import stands behind a line; tell whether it is still running."""
    eventually(lambda: process.poll() is not None or line_of(file) >= line, timeout_s=60, interval_s=0.0005)
    return process.poll() is None


def big_file(path: Path, *, bad_each: int = 0) -> tuple[Path, list[str]]:
    """Write a file of ROWS holders, one in `bad_each` bad; return it and the external_ids of those."""
    lines = holder_lines(ROWS)
    bad = list(range(17, ROWS, bad_each)) if bad_each else []
    for number in bad:
        lines[number] = f"p-{number},,ID,11010519{number:08},north"
    return write_lines(path, [HEADER, *lines]), [f"p-{number}" for number in bad]


@pytest.mark.parametrize("seed", range(1))
def test_a_rerun_after_kill_9_anywhere_gives_exactly_the_rows_of_the_file(
    running_issuer: RunningIssuer, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    file, bad = big_file(tmp_path / "people.csv", bad_each=97)
    kills = 0
    while True:
        process = start(running_issuer, "holder", "import", file, "--apply", "--json")
        if has_reached(process, file, line_of(file) + rng.randrange(1, ROWS // 6)):
            process.kill()
            kills += 1
        told, _ = process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
    assert kills >= 3
    assert process.returncode == 1
    summary = json.loads(told)
    assert (summary["rows"], summary["rejected"]) == (ROWS, len(bad))
    assert summary["entered"] + summary["known_before"] == ROWS - len(bad)
    expected = [f"p-{number}" for number in range(ROWS) if f"p-{number}" not in set(bad)]
    assert [one.external_id for one in holders(running_issuer)] == expected
    found = rejected(Path(f"{file}.rejects.csv"))
    assert [one["external_id"] for one in found] == bad
    assert [int(one["rejected_line"]) for one in found] == [int(one.removeprefix("p-")) + 2 for one in bad]
    assert not progress_of(file).exists()


def test_the_output_of_credentials_has_each_once_after_kill_9(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    run("holder", "import", write_lines(tmp_path / "h.csv", [HEADER, *holder_lines(1)]), "--apply")
    orders = [f"o-{number},PAPER,1" for number in range(12_000)]
    file = write_lines(tmp_path / "orders.csv", ["external_id,kind,holder_id", *orders])
    output = tmp_path / "issued.csv"
    kills = 0
    while True:
        arguments = ("credential", "issue", "--from", file, "--output", output, "--apply")
        process = start(running_issuer, *arguments)
        if has_reached(process, file, line_of(file) + 3_000):
            process.kill()
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
    assert kills >= 2
    with output.open(newline="") as written:
        rows = list(csv.reader(written))
    assert rows == [["external_id", "credential_index"], *([f"o-{n}", str(n + 1)] for n in range(12_000))]


def test_ctrl_c_says_how_to_go_on_and_the_rerun_does(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    file, _ = big_file(tmp_path / "people.csv")
    process = start(running_issuer, "holder", "import", file, "--apply")
    assert has_reached(process, file, 2_000)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "repeat the command to go on there." in told
    assert "Traceback" not in told
    plan = run("holder", "import", file)
    assert f"would go on with {file} behind line" in plan.stdout
    done = run("holder", "import", file, "--apply", "--json")
    assert "goes on behind line" in done.stderr
    assert json.loads(done.stdout)["rows"] == ROWS
    assert len(holders(running_issuer)) == ROWS


@pytest.fixture
def stopped(running_issuer: RunningIssuer, tmp_path: Path) -> Path:
    """A file whose import was stopped on the way."""
    file, _ = big_file(tmp_path / "people.csv", bad_each=1_000)
    process = start(running_issuer, "holder", "import", file, "--apply")
    assert has_reached(process, file, 3_000)
    process.kill()
    process.communicate()
    return file


def test_a_file_that_was_changed_meanwhile_is_refused_until_told_to_begin_anew(
    run: Run, stopped: Path
) -> None:
    with stopped.open("a", encoding="utf-8") as file:
        file.write("p-more,王小秀,ID,more,north\n")
    result = run("holder", "import", stopped, "--apply")
    assert result.exit_code == 2
    assert "was changed since" in result.stderr
    assert "--restart" in result.stderr
    anew = run("holder", "import", stopped, "--apply", "--restart", "--json")
    assert anew.exit_code == 1
    assert json.loads(anew.stdout)["rows"] == ROWS + 1
    assert len(rejected(Path(f"{stopped}.rejects.csv"))) == ROWS // 1_000


def test_a_checkpoint_that_was_damaged_is_refused_with_advice(run: Run, stopped: Path) -> None:
    progress_of(stopped).write_text('{"file":')
    result = run("holder", "import", stopped, "--apply")
    assert result.exit_code == 2
    assert "--restart" in result.stderr


def test_an_import_to_another_issuer_does_not_go_on_with_this_ones_place(
    run: Run, running_issuer: RunningIssuer, stopped: Path
) -> None:
    result = run("holder", "import", stopped, "--apply", "--server", running_issuer.address)
    assert result.exit_code == 2
    assert "was another one" in result.stderr


def test_two_imports_of_one_file_at_once_are_refused(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    file, _ = big_file(tmp_path / "people.csv")
    process = start(running_issuer, "holder", "import", file, "--apply")
    assert has_reached(process, file, 1)
    process.send_signal(signal.SIGSTOP)
    result = run("holder", "import", file, "--apply")
    process.kill()
    process.communicate()
    assert result.exit_code == 2
    assert "another import" in result.stderr


def test_a_full_disk_is_told_with_how_to_go_on(run: Run, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "people.csv", [HEADER, "p-1,,ID,1,north"])
    result = run("holder", "import", file, "--apply", "--rejects", "/dev/full", "--restart")
    assert result.exit_code == 1
    assert "repeat the command" in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_that_cannot_be_written_is_told_before_anything_goes_in(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "people.csv", [HEADER, *holder_lines(1)])
    progress_of(file).with_suffix(".progress.new").mkdir()  # root may write to any folder, but not this
    result = run("holder", "import", file, "--apply")
    assert result.exit_code == 2
    assert "a folder of your own" in result.stderr
    assert holders(running_issuer) == []


# An issuer that goes and comes back


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stage]:
    with quick_stages(), stage(tmp_path) as running:
        yield running


def enrolled(running: Stage) -> int:
    with running.client() as client:
        found, after = 0, 0
        while True:
            answer = client.admin.ListHolders(pb.ListHoldersRequest(page_size=1_000, after_id=after))
            found += len(answer.holders)
            if not answer.has_more:
                return found
            after = answer.holders[-1].holder_id


def test_an_issuer_that_is_killed_and_comes_back_loses_no_row(running: Stage, tmp_path: Path) -> None:
    file, _ = big_file(tmp_path / "people.csv")
    process = _start_at(running, file)
    assert has_reached(process, file, 3_000)
    assert running.issuer is not None
    running.issuer.kill()
    running.start_issuer()
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "tries again in" in errors
    assert f"rows           {ROWS}" in told
    assert enrolled(running) == ROWS


def _start_at(running: Stage, file: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "issuer", "holder", "import", str(file), "--apply"],
        env={**os.environ, **running.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
