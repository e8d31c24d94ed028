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


def test_a_week_of_keys_a_month_of_key_sets_and_the_limits_are_the_defaults() -> None:
    settings = load(ServeSettings, {})
    assert (settings.key_life_s, settings.key_set_life_s) == (604_800, 2_592_000)
    assert (settings.second_person_above, settings.red_alarm_per_hour) == (100, 20)
    assert (settings.bundle_burst, settings.bundles_per_hour) == (10, 60)
    assert (settings.register_url, settings.metrics_listen) == ("", "")


@pytest.mark.parametrize("listen", ["0.0.0.0:50061", "[::]:50061", "10.0.0.7:50061", "issuer.city:50061"])
def test_beyond_this_machine_it_takes_tls_or_a_word(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"give --tls-certificate and --tls-key.*--insecure"):
        load(ServeSettings, {"listen": listen})
    load(ServeSettings, {"listen": listen, "insecure": True})
    load(ServeSettings, {"listen": listen, "tls_certificate": Path("c"), "tls_key": Path("k")})


@pytest.mark.parametrize("listen", ["", "127.0.0.1:0", "127.9.9.9:1", "[::1]:50061", "localhost:50061"])
def test_on_this_machine_it_takes_neither(listen: str) -> None:
    assert load(ServeSettings, {"listen": listen}).listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:1"])
def test_an_address_that_is_none_is_named_with_its_option(listen: str) -> None:
    with pytest.raises(SettingsError, match="--listen: expected HOST:PORT"):
        load(ServeSettings, {"listen": listen})
    with pytest.raises(SettingsError, match="--metrics-listen: expected HOST:PORT"):
        load(ServeSettings, {"metrics_listen": listen})


@pytest.mark.parametrize(
    "options", [{"tls_certificate": Path("c")}, {"tls_key": Path("k")}, {"tls_client_ca": Path("a")}]
)
def test_half_of_tls_is_refused(options: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match="--tls-certificate and --tls-key"):
        load(ServeSettings, options)


def test_a_password_in_the_registers_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_ISSUER_REGISTER_URL", "postgresql+psycopg://u:CANARY@h/d")
    settings = load(ServeSettings, {})
    assert settings.register_url == "postgresql+psycopg://u:CANARY@h/d"
    assert "CANARY" not in repr(settings)


def test_a_command_asks_the_socket_in_the_folder(tmp_path: Path) -> None:
    settings = load(ClientSettings, {"folder": tmp_path / "市"})
    assert settings.server == f"unix:{tmp_path}/%E5%B8%82/issuer.sock"
    assert settings.key_file is None
    assert load(ClientSettings, {}).server == "unix:gatelight-issuer/issuer.sock"


@pytest.mark.parametrize("server", ["", "127.0.0.1:50061", "localhost:1", "unix:/run/issuer.sock"])
def test_a_command_calls_with_the_local_key_on_this_machine(tmp_path: Path, server: str) -> None:
    (tmp_path / "local.key").touch()
    settings = load(ClientSettings, {"folder": tmp_path, "server": server})
    assert settings.key_file == tmp_path / "local.key"
    other = load(ClientSettings, {"folder": tmp_path, "server": server, "key_file": tmp_path / "other"})
    assert other.key_file == tmp_path / "other"


def test_the_local_key_is_not_for_another_machine(tmp_path: Path) -> None:
    (tmp_path / "local.key").touch()
    assert load(ClientSettings, {"folder": tmp_path, "server": "issuer.city:50061"}).key_file is None


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
    ("option", "value"),
    [
        ("partitions", 0),
        ("partitions", "many"),
        ("threads", 0),
        ("grace_s", -1),
        ("grace_s", float("inf")),
        ("grace_s", float("nan")),
        ("grace_s", 3_601),
        ("key_life_s", 9),
        ("key_set_life_s", 59),
        ("second_person_above", -1),
        ("red_alarm_per_hour", 0),
        ("bundle_burst", 0),
        ("bundles_per_hour", 0),
    ],
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
