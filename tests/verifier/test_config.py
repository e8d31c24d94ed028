"""The settings of a verifier: where they come from, and what they mean."""

from pathlib import Path

import pytest

from verifier.config import (
    RELOADABLE,
    VerifierSettings,
    changes_needing_restart,
    load_settings,
    reloaded,
)
from verifier.errors import SettingsError
from verifier.host.worker_config import GateAuth

_ROOT = {"root_key": "root.pub"}


def _file(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "verifier.toml"
    path.write_text(text)
    return _ROOT | {"config": str(path)}


def test_a_file_gives_settings(tmp_path: Path) -> None:
    settings = load_settings(_file(tmp_path, 'threads = 4\nengine = "grpcio"\nno_journal = true\n'))
    assert (settings.threads, settings.engine, settings.journal_folder) == (4, "grpcio", None)


def test_names_in_a_file_have_hyphens_or_underscores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_VERIFIER_MAX_BACKLOG", "15")
    settings = load_settings(_file(tmp_path, "max-streams = 6\nmax_connections = 7\nmax-backlog = 5\n"))
    assert (settings.max_streams, settings.max_connections, settings.max_backlog) == (6, 7, 15)


def test_a_variable_wins_over_the_file_and_an_option_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _file(tmp_path, 'threads = 4\nmax_backlog = 5\nmax_streams = 6\nredis_url = "redis://file/0"\n')
    monkeypatch.setenv("GATELIGHT_VERIFIER_THREADS", "14")
    monkeypatch.setenv("GATELIGHT_VERIFIER_MAX_BACKLOG", "15")
    monkeypatch.setenv("GATELIGHT_REDIS_URL", "redis://variable/0")
    settings = load_settings(options | {"threads": 24, "listen": None})
    assert (settings.threads, settings.max_backlog, settings.max_streams) == (24, 15, 6)
    assert settings.redis_url == "redis://variable/0"


def test_the_redis_url_has_a_variable_of_the_verifiers_own_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_VERIFIER_REDIS_URL", "redis://own/0")
    monkeypatch.setenv("GATELIGHT_REDIS_URL", "redis://shared/0")
    assert load_settings(_ROOT).redis_url == "redis://own/0"


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_VERIFIER_CONFIG", _file(tmp_path, "threads = 4")["config"])
    assert load_settings(_ROOT).threads == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("treads = 4", "did you mean threads"),
        ("threads = 0", "--threads"),
        ("threads = 'CANARY'", "--threads"),
        ('redis_url = "redis://:CANARY@host" "', "is not TOML"),
        ("[serve]\nthreads = 4", "unknown name serve"),
        ('config = "other.toml"', "unknown name config"),
        ("max-bcklog = 4", "did you mean max-backlog"),
        ("max-streams = 4\nmax_streams = 4", "max_streams is there twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_not_repeated(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as raised:
        load_settings(_file(tmp_path, text))
    assert "CANARY" not in str(raised.value)


def test_the_variable_of_a_worker_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATELIGHT_WORKER_FD", "5")
    load_settings(_ROOT)


def test_web_pages_need_the_engine_that_lets_them_in() -> None:
    pages = _ROOT | {"cors_origins": "https://gate.example"}
    for engine in ("auto", "envoy"):
        load_settings(pages | {"engine": engine})
    with pytest.raises(SettingsError, match="--engine envoy"):
        load_settings(pages | {"engine": "grpcio"})


_TLS = {"tls_certificate": "server.pem", "tls_key": "server.key"}


@pytest.mark.parametrize(
    ("options", "gate_auth"),
    [
        ({}, GateAuth.NONE),
        (_TLS, GateAuth.KEY),
        (_TLS | {"tls_client_ca": "ca.pem"}, GateAuth.CERTIFICATE),
        (_TLS | {"gate_auth": "none"}, GateAuth.NONE),
        ({"gate_auth": "key"}, GateAuth.KEY),
    ],
)
def test_gates_show_what_the_connection_can_carry(options: dict[str, str], gate_auth: GateAuth) -> None:
    assert load_settings(_ROOT | options).effective_gate_auth is gate_auth


@pytest.mark.parametrize("options", [{"insecure": True}, _TLS])
def test_beyond_loopback_it_takes_tls_or_a_word(options: dict[str, object]) -> None:
    load_settings(_ROOT | {"listen": "0.0.0.0:50051", **options})
    with pytest.raises(SettingsError, match="--insecure"):
        load_settings(_ROOT | {"listen": "0.0.0.0:50051"})


def test_what_can_be_reloaded_is_taken_and_the_rest_named() -> None:
    old = load_settings(_ROOT)
    new = load_settings(_ROOT | {"threads": 4, "partitions": 3, "engine": "envoy", "max_test_age_s": 60})
    assert changes_needing_restart(old, new) == ["engine", "partitions"]
    merged = reloaded(old, new)
    assert (merged.threads, merged.max_test_age_s, merged.partitions) == (4, 60, 1)
    assert VerifierSettings.model_fields.keys() >= RELOADABLE


_CA = _TLS | {"tls_client_ca": "ca.pem"}


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (_CA | {"listen": "0.0.0.0:50051"}, {}, "loopback"),
        (_CA | {"listen": "0.0.0.0:50051"}, {"listen": "0.0.0.0:50051", "insecure": True}, "loopback"),
        (_TLS, {"gate_auth": "key"}, "TLS is dropped"),
        (_CA, _TLS, "certificate"),
        (_CA | {"gate_auth": "key"}, _TLS, "certificate"),
        (_CA, _CA | {"gate_auth": "key"}, "--gate-auth is weaker"),
        (_TLS, _TLS | {"gate_auth": "none"}, "--gate-auth is weaker"),
        ({"max_test_age_s": 60}, {}, "--max-test-age-s is dropped"),
        ({"max_status_age_s": 60}, {}, "--max-status-age-s is dropped"),
    ],
)
def test_no_reload_asks_less_of_gates(
    before: dict[str, object], after: dict[str, object], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        reloaded(load_settings(_ROOT | before), load_settings(_ROOT | after))


def test_a_reload_may_ask_more_of_gates() -> None:
    settings = load_settings(_ROOT)
    for more, gate_auth in (({"gate_auth": "key"}, GateAuth.KEY), (_CA, GateAuth.CERTIFICATE)):
        settings = reloaded(settings, load_settings(_ROOT | more))
        assert settings.effective_gate_auth is gate_auth


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300])
@pytest.mark.parametrize("name", ["grace_s", "connection_age_s", "max_status_age_s"])
def test_times_are_finite(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        load_settings(_ROOT | {name: value})
