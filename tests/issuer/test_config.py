import os
from pathlib import Path

import pytest

from issuer.config import ClientSettings, FolderSettings, ServeSettings, load
from issuer.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("GATELIGHT_")]:
        monkeypatch.delenv(variable)


def test_defaults_stay_on_this_machine() -> None:
    settings = load(ServeSettings, {})
    assert settings.listen == "127.0.0.1:50061"
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert not settings.insecure


def test_an_option_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_ISSUER_FOLDER", "from-variable")
    assert load(FolderSettings, {"folder": None}).folder == Path("from-variable")
    assert load(FolderSettings, {"folder": Path("from-option")}).folder == Path("from-option")


def test_redis_url_and_passphrase_are_shared_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATELIGHT_REDIS_URL", "redis://elsewhere:1/2")
    monkeypatch.setenv("GATELIGHT_PASSPHRASE", "from variable")
    settings = load(ServeSettings, {})
    assert settings.redis_url == "redis://elsewhere:1/2"
    assert settings.read_passphrase() == b"from variable"
    (tmp_path / "passphrase").write_text("from file\n")
    monkeypatch.setenv("GATELIGHT_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    assert load(ServeSettings, {}).read_passphrase() == b"from file"
    assert load(ServeSettings, {"redis_url": "redis://option:3/4"}).redis_url == "redis://option:3/4"


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("GATELIGHT_ISSUER_FOLDR", "GATELIGHT_ISSUER_FOLDER"),
        ("GATELIGHT_ISSUER_PARTITION", "GATELIGHT_ISSUER_PARTITIONS"),
        ("GATELIGHT_ISSUER_SERVR", "GATELIGHT_ISSUER_SERVER"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_names_the_right_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, advice: str
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(SettingsError, match=f"{variable}: did you mean {advice}\\?"):
        load(ClientSettings, {})


def test_a_variable_that_only_looks_like_one_of_ours_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_ISSUER_PASSPHRASE", "x")
    with pytest.raises(SettingsError, match="unknown variable GATELIGHT_ISSUER_PASSPHRASE"):
        load(ServeSettings, {})


def test_variables_of_others_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_VERIFIER_ROOT_KEY", "x")
    load(ServeSettings, {})


@pytest.mark.parametrize(
    ("option", "value"), [("partitions", 0), ("partitions", "many"), ("threads", 0), ("grace_s", -1)]
)
def test_an_unusable_value_is_named(option: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"^--{option.replace('_', '-')}: "):
        load(ServeSettings, {option: value})


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b" se cret ", b" se cret "),
        (b"\xff\xfe", b"\xff\xfe"),
    ],
)
def test_a_passphrase_file_is_read_up_to_its_last_line_break(
    tmp_path: Path, content: bytes, passphrase: bytes
) -> None:
    (tmp_path / "p").write_bytes(content)
    assert load(FolderSettings, {"passphrase_file": tmp_path / "p"}).read_passphrase() == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 1_025])
def test_an_empty_or_endless_passphrase_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(SettingsError, match="1 to 1024 bytes"):
        load(FolderSettings, {"passphrase_file": tmp_path / "p"}).read_passphrase()


def test_a_missing_passphrase_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        load(FolderSettings, {"passphrase_file": tmp_path / "nowhere"}).read_passphrase()


def test_an_empty_passphrase_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_PASSPHRASE", "")
    with pytest.raises(SettingsError, match="GATELIGHT_PASSPHRASE is empty"):
        load(FolderSettings, {}).read_passphrase()


def test_no_passphrase_is_none() -> None:
    assert load(FolderSettings, {}).read_passphrase() is None


def test_a_passphrase_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_PASSPHRASE", "CANARY")
    assert "CANARY" not in repr(load(ServeSettings, {}))
