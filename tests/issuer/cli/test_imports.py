"""Imports from files, against a real issuer: what goes in, what is rejected, and what is said."""

import csv
import json
import re
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from issuer.v1 import access_pb2
from issuer.v1 import admin_pb2 as pb
from tests.eventually import eventually
from tests.issuer.cli.commands import Run, read_json, run_alone, write_lines
from tests.issuer.running_issuer import RunningIssuer

HEADER = "external_id,name,document_type,document_number,region"


def holder_lines(count: int, *, first: int = 0) -> list[str]:
    return [f"p-{number},王小秀,ID,11010519{number:08},north" for number in range(first, first + count)]


def holders_file(path: Path, lines: Sequence[str]) -> Path:
    return write_lines(path, [HEADER, *lines])


def holders(issuer: RunningIssuer) -> list[pb.Holder]:
    found: list[pb.Holder] = []
    while True:
        request = pb.ListHoldersRequest(page_size=1_000, after_id=found[-1].holder_id if found else 0)
        answer = issuer.client.admin.ListHolders(request)
        found += answer.holders
        if not answer.has_more:
            return found


def rejected(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


# Holders


def test_without_apply_a_file_is_read_and_nothing_goes_in(
    run: Run, running_issuer: RunningIssuer, file: Path
) -> None:
    holders_file(file, holder_lines(3))
    result = run("holder", "import", file)
    assert result.exit_code == 0
    assert result.stdout == (
        f"would import 3 holders from {file}\nNothing was changed. To do it, add --apply.\n"
    )
    assert holders(running_issuer) == []
    assert [one.name for one in file.parent.iterdir() if one.name.startswith("people")] == ["people.csv"]


def test_all_rows_of_a_file_go_in_and_the_summary_counts_them(
    run: Run, running_issuer: RunningIssuer, file: Path
) -> None:
    holders_file(file, holder_lines(2_500))
    told = read_json(run("holder", "import", file, "--apply", "--json"))
    counted = {name: told[name] for name in ("applied", "rows", "entered", "known_before", "rejected")}
    assert counted == {"applied": True, "rows": 2_500, "entered": 2_500, "known_before": 0, "rejected": 0}
    assert [one.external_id for one in holders(running_issuer)] == [f"p-{n}" for n in range(2_500)]
    assert {one.name for one in file.parent.iterdir() if one.name.startswith("people")} == {"people.csv"}


def test_a_file_that_is_imported_again_changes_nothing(
    run: Run, running_issuer: RunningIssuer, file: Path
) -> None:
    holders_file(file, holder_lines(10))
    run("holder", "import", file, "--apply")
    told = read_json(run("holder", "import", file, "--apply", "--json"))
    assert (told["entered"], told["known_before"]) == (0, 10)
    assert len(holders(running_issuer)) == 10


def test_bad_rows_go_to_a_file_with_line_and_reason_and_the_good_ones_go_in(
    run: Run, running_issuer: RunningIssuer, file: Path
) -> None:
    good = holder_lines(4)
    lines = [good[0], "p-x,,ID,9,north", good[1], "too,few", good[2], 'p-y,"a\nb",ID,8,north', good[3]]
    holders_file(file, lines)
    result = run("holder", "import", file, "--apply")
    assert result.exit_code == 1
    assert "rejected       3\n" in result.stdout
    assert "Mend the rows in" in result.stderr
    assert [one.external_id for one in holders(running_issuer)] == ["p-0", "p-1", "p-2", "p-3"]
    found = rejected(Path(f"{file}.rejects.csv"))
    assert [(one["rejected_line"], one["external_id"]) for one in found] == [
        ("3", "p-x"),
        ("5", "too"),
        ("7", "p-y"),
    ]
    assert found[0]["rejected_because"].startswith("name: expected 1 to 200 characters")
    assert found[1]["rejected_because"] == "expected 5 columns, got 2"
    assert "control characters" in found[2]["rejected_because"]


def test_a_carriage_return_in_a_field_costs_that_row_alone(
    run: Run, file: Path, running_issuer: RunningIssuer
) -> None:
    good, bad = holder_lines(2), "p-9,王\r二,ID,E9,north"
    file.write_bytes("".join(f"{line}\n" for line in (HEADER, good[0], bad, good[1])).encode())
    result = run("holder", "import", file, "--apply", "--yes")
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit), result.output
    assert len(holders(running_issuer)) == 2
    with file.with_name(f"{file.name}.rejects.csv").open(encoding="utf-8-sig", newline="") as rejects:
        _, row = csv.reader(rejects)
    assert (row[0], row[2:]) == ("3", [bad])


def test_a_rejects_file_is_for_its_owner_alone(run: Run, file: Path) -> None:
    holders_file(file, ["p-1,,ID,1,north"])
    run("holder", "import", file, "--apply")
    assert stat.S_IMODE(Path(f"{file}.rejects.csv").stat().st_mode) == 0o600


def test_a_rejects_file_is_mended_and_imported_itself(
    run: Run, running_issuer: RunningIssuer, file: Path
) -> None:
    holders_file(file, [*holder_lines(2), "p-2,,ID,11010519,north"])
    run("holder", "import", file, "--apply")
    mended = Path(f"{file}.rejects.csv")
    mended.write_text(mended.read_text("utf-8").replace("p-2,,", "p-2,李雷,"), "utf-8")
    told = read_json(run("holder", "import", mended, "--apply", "--json"))
    assert (told["rows"], told["entered"]) == (1, 1)
    assert [one.external_id for one in holders(running_issuer)] == ["p-0", "p-1", "p-2"]


def test_what_an_earlier_import_left_is_not_written_over(run: Run, file: Path) -> None:
    holders_file(file, [*holder_lines(1), "p-2,,ID,1,north"])
    run("holder", "import", file, "--apply")
    before = Path(f"{file}.rejects.csv").read_bytes()
    result = run("holder", "import", file, "--apply")
    assert result.exit_code == 2
    assert "--restart" in result.stderr
    assert Path(f"{file}.rejects.csv").read_bytes() == before
    assert run("holder", "import", file, "--apply", "--restart").exit_code == 1


def test_a_file_whose_rows_are_all_bad_is_exit_code_2(run: Run, file: Path) -> None:
    holders_file(file, ["p-1,,ID,1,north"])
    result = run("holder", "import", file, "--apply")
    assert result.exit_code == 2
    assert "entered        0" in result.stdout


@pytest.mark.parametrize("apply", [(), ("--apply",)])
def test_an_unknown_column_is_exit_code_2_and_lists_the_known_ones(
    run: Run, running_issuer: RunningIssuer, file: Path, apply: tuple[str, ...]
) -> None:
    write_lines(file, [f"{HEADER},colour", "1,a,ID,1,north,red"])
    result = run("holder", "import", file, *apply)
    assert result.exit_code == 2
    assert "column 6" in result.stderr
    assert "guardian_external_id" in result.stderr
    assert holders(running_issuer) == []


def test_a_plan_names_the_first_rows_that_cannot_be_read(run: Run, file: Path) -> None:
    holders_file(file, ["p-1,a,ID,1,north", "p-2"])
    result = run("holder", "import", file)
    assert result.exit_code == 1
    assert "line 3: expected 5 columns, got 1" in result.stderr
    assert "would import 1 holders" in result.stdout


def test_a_missing_file_is_exit_code_2(run: Run, tmp_path: Path) -> None:
    result = run("holder", "import", tmp_path / "nowhere.csv", "--apply")
    assert result.exit_code == 2
    assert "nowhere.csv cannot be read" in result.stderr


def test_guardians_are_named_by_their_external_id(
    run: Run, running_issuer: RunningIssuer, file: Path
) -> None:
    write_lines(
        file,
        [
            f"{HEADER},guardian_external_id",
            "p-0,a,ID,1,north,",
            "p-1,b,ID,2,north,p-0",
            "p-2,c,ID,3,north,",
            "p-3,d,ID,4,north,nobody",
        ],
    )
    assert run("holder", "import", file, "--apply").exit_code == 1
    assert [(one.external_id, one.guardian_id) for one in holders(running_issuer)] == [
        ("p-0", 0),
        ("p-1", 1),
        ("p-2", 0),
    ]


def test_json_lines_go_in_and_their_rejects_are_json_lines(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    file = tmp_path / "people.jsonl"
    rows: list[dict[str, object]] = [
        {"external_id": "p-0", "name": "王小秀", "document_type": "ID", "document_number": "1"},
        {"external_id": "p-1", "name": "", "document_type": "ID", "document_number": 2, "region": "张伟"},
    ]
    write_lines(file, [json.dumps(rows[0]), json.dumps(rows[1]), '{"external_id": "\\ud800", "name": "a"}'])
    assert run("holder", "import", file, "--apply").exit_code == 1
    assert [one.external_id for one in holders(running_issuer)] == ["p-0"]
    written = Path(f"{file}.rejects.jsonl").read_text(encoding="utf-8")
    assert "张伟" in written
    found = [json.loads(line) for line in written.splitlines()]
    assert found[0].pop("rejected_because").startswith("name: ")
    assert found[0] == {"rejected_line": 2, **rows[1]}
    assert (found[1]["rejected_line"], found[1]["rejected_because"]) == (3, "not Unicode")


def test_no_name_and_no_number_is_printed(run: Run, file: Path) -> None:
    holders_file(file, ["p-1,CANARY,ID,CANARY2,north,", "p-2,CANARY\u0007,ID,CANARY3,north", 'p-3,"CANARY'])
    for apply in ((), ("--apply",)):
        result = run("holder", "import", file, *apply)
        assert "CANARY" not in result.output


def test_an_issuer_that_is_not_there_is_exit_code_3_and_nothing_was_done(file: Path, tmp_path: Path) -> None:
    holders_file(file, holder_lines(1))
    result = run_alone("holder", "import", file, "--apply", "--folder", tmp_path / "nowhere")
    assert result.exit_code == 3
    assert "Nothing of the file went in: repeat the command." in result.stderr
    assert not file.with_name("people.csv.progress").exists()


def test_who_may_not_import_is_told_so(run: Run, file: Path, approver: tuple[str, str]) -> None:
    holders_file(file, holder_lines(1))
    result = run("holder", "import", file, "--apply", *approver)
    assert result.exit_code == 1
    assert "role clerk" in result.stderr


# Credentials


def test_credentials_are_issued_from_a_file_and_their_indices_written(
    run: Run, running_issuer: RunningIssuer, file: Path, tmp_path: Path
) -> None:
    holders_file(file, holder_lines(3))
    run("holder", "import", file, "--apply")
    orders = write_lines(
        tmp_path / "orders.csv",
        [
            "external_id,kind,holder_external_id,valid_until",
            "o-1,PAPER,p-0,2099-01-01",
            "o-2,plastic,p-1,",
            "o-3,PHONE,nobody,",
            "o-4,phone,p-2,",
        ],
    )
    output = tmp_path / "issued.csv"
    result = run("credential", "issue", "--from", orders, "--output", output, "--apply")
    assert result.exit_code == 1
    assert output.read_text().splitlines() == ["external_id,credential_index", "o-1,1", "o-4,2"]
    assert [one["external_id"] for one in rejected(Path(f"{orders}.rejects.csv"))] == ["o-2", "o-3"]
    assert read_json(run("credential", "show", 1, "--json"))["valid_until"] > 4_000_000_000


def test_credentials_that_were_issued_before_are_in_the_output_again(
    run: Run, tmp_path: Path, file: Path
) -> None:
    holders_file(file, holder_lines(1))
    run("holder", "import", file, "--apply")
    orders = write_lines(tmp_path / "orders.csv", ["external_id,kind,holder_id", "o-1,PHONE,1"])
    for name in ("first.csv", "second.csv"):
        command = ("credential", "issue", "--from", orders, "--output", tmp_path / name, "--apply")
        assert run(*command).exit_code == 0
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "second.csv").read_text()


# Tests


def test_negative_tests_go_in_and_the_newest_counts(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    holder_id = running_issuer.enrol()[0]
    file = write_lines(
        tmp_path / "lab.csv",
        [
            "external_id,taken_at,authority,holder_id",
            f"t-1,2026-01-02T03:04:00Z,lab,{holder_id}",
            f"t-2,1700000040,lab,{holder_id}",
            f"t-3,yesterday,lab,{holder_id}",
            f"t-4,+3d,lab,{holder_id}",
            "t-5,1700000040,lab,x",
        ],
    )
    result = run("test", "import", file, "--apply")
    assert result.exit_code == 1
    reasons = [one["rejected_because"] for one in rejected(Path(f"{file}.rejects.csv"))]
    assert [reason.split(":")[0] for reason in reasons] == ["taken_at", "taken_at", "holder_id"]
    status = read_json(run("status", "show", holder_id, "--json"))
    assert status["last_negative_test"] == 1_767_323_040


# Statuses


def status_file(path: Path, rows: Sequence[str]) -> Path:
    return write_lines(path, ["external_id,holder_id,colour,reason,authority,valid_until", *rows])


def test_greens_below_the_limit_go_in_without_a_second_person(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    ids = running_issuer.enrol(3)
    file = status_file(tmp_path / "s.csv", [f"d-{number},{number},GREEN,,office," for number in ids])
    told = read_json(run("status", "import", file, "--apply", "--json"))
    assert told["entered"] == 3
    assert read_json(run("status", "show", ids[2], "--json"))["colour"] == "GREEN"


def test_reds_wait_for_a_second_person_and_then_the_same_command_imports_them(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    ids = running_issuer.enrol(3)
    colours = ("RED", "red", "YELLOW")
    rows = [f"d-{number},{number},{colour},12,office," for number, colour in zip(ids, colours, strict=True)]
    file = status_file(tmp_path / "s.csv", [*rows, "d-9,9999,BLUE,,office,"])
    plan = run("status", "import", file)
    assert "would import 3 status changes" in plan.stdout
    assert "0 GREEN, 1 YELLOW, 2 RED; a second person has to approve the reds" in plan.stdout

    waiting = run("status", "import", file, "--apply")
    assert waiting.exit_code == 4
    found = re.search(
        r"`gatelight-issuer approval approve (\d+) --apply --key-file THEIR.key`", waiting.stdout
    )
    assert found is not None
    assert read_json(run("status", "show", ids[0], "--json"))["colour"] == "NONE"
    assert run("status", "import", file, "--apply").exit_code == 4  # and asks for nothing new
    assert len(run("approval", "list", "--json").stdout.splitlines()) == 1

    running_issuer.approve(int(found[1]))
    done = run("status", "import", file, "--apply")
    assert done.exit_code == 1
    assert "entered        3" in done.stdout
    assert [read_json(run("status", "show", number, "--json"))["colour"] for number in ids] == [
        "RED",
        "RED",
        "YELLOW",
    ]


def test_with_wait_an_import_of_statuses_begins_once_somebody_agreed(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    (holder_id,) = running_issuer.enrol()
    file = status_file(tmp_path / "s.csv", [f"d-1,{holder_id},RED,12,office,"])
    ask = running_issuer.client.access.ListApprovals

    def agree() -> None:
        eventually(lambda: ask(access_pb2.ListApprovalsRequest()).approvals)
        running_issuer.approve(1)

    second_person = threading.Thread(target=agree)
    second_person.start()
    result = run("status", "import", file, "--wait", 30, "--apply")
    second_person.join()
    assert result.exit_code == 0, result.output
    assert read_json(run("status", "show", holder_id, "--json"))["colour"] == "RED"


def test_an_import_of_statuses_that_was_rejected_asks_anew(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    (holder_id,) = running_issuer.enrol()
    file = status_file(tmp_path / "s.csv", [f"d-1,{holder_id},RED,12,office,"])
    run("status", "import", file, "--apply")
    run("approval", "reject", 1, "--apply")
    result = run("status", "import", file, "--apply")
    assert result.exit_code == 4
    assert "approval approve 2 --apply" in result.stdout
    assert read_json(run("status", "show", holder_id, "--json"))["colour"] == "NONE"
