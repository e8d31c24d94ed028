"""Keys, the key set and the cache, as an operator works with them."""

from pathlib import Path

import pytest
import redis

from tests.issuer.cli.commands import Run, read_json, read_lines, run_alone
from tests.issuer.running_issuer import PASSPHRASE, RunningIssuer
from tests.signer import Signer


def key_ids(run: Run) -> dict[str, str]:
    """Return the state of each key."""
    return {one["key_id"]: one["state"] for one in read_lines(run("key", "list", "--json"))}


def approved(run: Run, issuer: RunningIssuer, *command: object) -> None:
    """Run a command that needs a second person, and be that one, too."""
    result = run(*command, "--apply", "--json")
    assert result.exit_code == 4, result.output
    newest = read_lines(run("approval", "list", "--state", "PENDING", "--json"))[0]
    issuer.approve(newest["approval_id"])


def test_the_keys_are_listed_with_what_happens_next(run: Run) -> None:
    told = run("key", "list").stdout
    assert "ACTIVE" in told
    assert "key set 1, valid until" in told
    assert "the root key is here" in told


def test_a_key_is_prepared_by_two_persons(run: Run, running_issuer: RunningIssuer) -> None:
    assert run("key", "prepare").stdout.startswith("would ask for a new signing key")
    assert list(key_ids(run).values()) == ["ACTIVE"]
    approved(run, running_issuer, "key", "prepare")
    assert sorted(key_ids(run).values()) == ["ACTIVE", "PREPARED"]


def test_a_key_is_named_by_its_first_digits(run: Run) -> None:
    (key_id,) = key_ids(run)
    plan = run("key", "revoke", key_id[:6].upper())
    assert plan.stdout.startswith(f"would ask to revoke key {key_id}, now ACTIVE, the one that signs")
    assert "cards signed by it are void" in plan.stdout


@pytest.mark.parametrize("verb", ["activate", "retire", "revoke"])
def test_a_key_that_is_not_there_is_refused_before_it_is_applied(run: Run, verb: str) -> None:
    result = run("key", verb, "0000000000000000")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "key list" in result.stderr


@pytest.mark.parametrize("verb", ["activate", "retire"])
def test_the_key_that_signs_is_neither_activated_nor_retired(run: Run, verb: str) -> None:
    (key_id,) = key_ids(run)
    assert run("key", verb, key_id).exit_code == 1


def test_a_key_is_revoked_by_two_persons(run: Run, running_issuer: RunningIssuer) -> None:
    (key_id,) = key_ids(run)
    approved(run, running_issuer, "key", "revoke", key_id)
    assert key_ids(run)[key_id] == "REVOKED"
    assert sorted(key_ids(run).values()) == ["ACTIVE", "REVOKED"]


def test_a_drill_prints_its_time_line(
    run: Run, running_issuer: RunningIssuer, approver: tuple[str, str]
) -> None:
    running_issuer.issue()
    assert run("key", "drill", "--bundles", 5, "--apply").exit_code == 4
    result = run("approval", "approve", 1, "--apply", *approver)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) > 3


# The key set


def test_the_key_set_is_shown_once_its_signature_is_found_right(
    run: Run, running_issuer: RunningIssuer
) -> None:
    shown = read_json(run("key-set", "show", "--json"))
    assert (shown["version"], len(shown["key_ids"])) == (1, 1)
    assert shown["expires_at"] > running_issuer.clock()


def test_a_key_set_of_another_root_is_not_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root.pub").write_bytes(Signer("another").root_pem)
    result = run("key-set", "show", "--root-key", tmp_path / "root.pub")
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_missing_root_key_is_told(run: Run, tmp_path: Path) -> None:
    result = run("key-set", "show", "--root-key", tmp_path / "root.pub")
    assert result.exit_code == 2
    assert "--root-key" in result.stderr


def test_a_key_set_goes_to_a_root_key_elsewhere_and_back(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    exported, signed = tmp_path / "next.json", tmp_path / "next.signed"
    assert str(signed) in run("key-set", "export", exported).stdout

    sign = ("key-set", "sign", exported, signed, "--root-key", running_issuer.folder.root_key)
    plan = run_alone(*sign)
    assert plan.exit_code == 0
    assert "would sign\n  key set " in plan.stdout
    assert next(iter(key_ids(run))) in plan.stdout
    assert not signed.exists()
    assert run_alone(*sign, "--apply", GATELIGHT_PASSPHRASE=PASSPHRASE.decode()).exit_code == 0

    before = read_json(run("key-set", "show", "--json"))["version"]
    assert "would ask to publish key set " in run("key-set", "import", signed).stdout
    approved(run, running_issuer, "key-set", "import", signed)
    assert read_json(run("key-set", "show", "--json"))["version"] > before


def test_signing_wants_the_right_passphrase_and_an_exported_file(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    exported, signed = tmp_path / "next.json", tmp_path / "next.signed"
    run("key-set", "export", exported)
    sign = ("key-set", "sign", exported, signed, "--apply", "--root-key", running_issuer.folder.root_key)
    assert run_alone(*sign, GATELIGHT_PASSPHRASE="wrong").exit_code == 1
    exported.write_text("{}")
    assert run_alone(*sign, GATELIGHT_PASSPHRASE=PASSPHRASE.decode()).exit_code == 1
    assert not signed.exists()


def test_a_root_key_that_is_not_there_is_told_before_the_plan(run: Run, tmp_path: Path) -> None:
    exported = tmp_path / "next.json"
    run("key-set", "export", exported)
    result = run_alone("key-set", "sign", exported, tmp_path / "signed", "--root-key", tmp_path / "none.key")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no root key at" in result.stderr


def test_an_export_that_nobody_signed_is_to_be_signed_first(run: Run, tmp_path: Path) -> None:
    exported = tmp_path / "next.json"
    run("key-set", "export", exported)
    result = run("key-set", "import", exported)
    assert result.exit_code == 1
    assert f"key-set sign {exported}" in result.stderr


def test_a_file_that_the_root_did_not_sign_is_not_imported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "signed").write_bytes(b"nothing of the kind")
    assert run("key-set", "import", tmp_path / "signed").exit_code == 1
    assert run("approval", "list", "--json").stdout == ""


def test_an_exported_file_is_never_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "next.json").write_text("mine")
    assert run("key-set", "export", tmp_path / "next.json").exit_code == 2
    assert (tmp_path / "next.json").read_text() == "mine"


# The cache


def test_the_cache_is_rebuilt_with_apply(run: Run, running_issuer: RunningIssuer) -> None:
    running_issuer.issue()
    assert run("cache", "rebuild").stdout.startswith("would write every status record")
    told = read_json(run("cache", "rebuild", "--apply", "--json"))
    assert told["records"] == 1


def test_a_cache_that_differs_is_exit_code_1_and_repaired_with_apply(
    run: Run, running_issuer: RunningIssuer, redis_url: str
) -> None:
    running_issuer.issue()
    assert run("cache", "check").exit_code == 0
    with redis.Redis.from_url(redis_url) as client:
        client.setrange("gatelight:{0}:status:0", 8, b"\xff" * 8)
    found = run("cache", "check", "--json")
    assert found.exit_code == 1
    assert '"differing_indices": [1]' in found.stdout
    assert "cache check --apply" in run("cache", "check").stderr
    assert run("cache", "check", "--apply").exit_code == 0
    assert run("cache", "check").exit_code == 0
