"""The settings of a verifier.

Each setting is an option of `gatelight-verifier serve`, a variable GATELIGHT_VERIFIER_<NAME>, and a name in
the TOML file of `--config`, with hyphens or underscores; the option wins over the variable, and that over
the file. GATELIGHT_REDIS_URL is shared with the issuer.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from verifier.errors import SettingsError
from verifier.host.engines import EngineName
from verifier.host.worker_config import GateAuth, TlsFiles
from verifier.limits import Limits
from verifier.listen import require_address, require_loopback
from verifier.mirror import DEFAULT_CAPACITY
from verifier.settings import load
from verifier.tracing import DEFAULT_RATIO, TraceConfig, read_trace_config
from verifier.verdict import Policy
from verifier.wire.ed25519 import VerifyingKey

PREFIX = "GATELIGHT_VERIFIER_"
REDIS_URL_VARIABLE = "GATELIGHT_REDIS_URL"
SCAN_SERVER_VARIABLE = PREFIX + "SERVER"  # of `gatelight-verifier scan`

_DEFAULTS = Limits()
_MAX_CONFIG_BYTES = 1 << 20
# What a rolling restart takes up. Everything else is the supervisor's own, and needs a restart.
RELOADABLE = frozenset(
    {
        "threads", "max_backlog", "max_streams", "max_connections", "known_codes", "connection_age_s",
        "max_test_age_s", "max_status_age_s", "tls_certificate", "tls_key", "tls_client_ca", "gate_auth",
        "reflection", "trace_ratio", "grace_s", "cors_origins", "journal_limit_mib",
    }
)  # fmt: skip

_MAX_AGE_S = 10 * 366 * 86_400


def cores() -> int:
    """Return how many processors we may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


class VerifierSettings(BaseSettings):
    """What a verifier needs to run."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, populate_by_name=True)

    config: Path | None = None  # TOML
    root_key: Path
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("redis_url", PREFIX + "REDIS_URL", REDIS_URL_VARIABLE),
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] = 1
    mirror_capacity: Annotated[int, Field(ge=1, le=2**32)] = DEFAULT_CAPACITY
    workers: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=cores)
    engine: EngineName = EngineName.AUTO
    listen: str = "127.0.0.1:50051"
    insecure: bool = False  # plain text beyond loopback
    port_file: Path | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] = _DEFAULTS.threads
    max_backlog: Annotated[int, Field(ge=1, le=1 << 20)] = _DEFAULTS.max_backlog
    max_streams: Annotated[int, Field(ge=1, le=1 << 16)] = _DEFAULTS.max_streams
    max_connections: Annotated[int, Field(ge=1, le=1 << 20)] = _DEFAULTS.max_connections
    known_codes: Annotated[int, Field(ge=0, le=1 << 20)] = _DEFAULTS.known_codes
    # gRPC has it as 31 bits of milliseconds.
    connection_age_s: Annotated[float, Field(ge=1, le=7 * 86_400, allow_inf_nan=False)] = (
        _DEFAULTS.connection_age_s
    )
    max_test_age_s: Annotated[int, Field(ge=1, le=_MAX_AGE_S)] | None = None
    max_status_age_s: Annotated[float, Field(gt=0, le=_MAX_AGE_S, allow_inf_nan=False)] | None = None
    tls_certificate: Path | None = None  # PEM, the server's own certificate first
    tls_key: Path | None = None  # PEM, RSA or EC, not encrypted
    tls_client_ca: Path | None = None  # PEM: gates have to have a certificate of one of these
    gate_auth: GateAuth | None = None  # None: as gate_auth_of() says
    cors_origins: str = ""  # Envoy engine: web pages that may call, separated by commas
    journal: Path = Path("gatelight-journal")
    no_journal: bool = False
    journal_limit_mib: Annotated[int, Field(ge=1, le=1 << 24)] = 1024
    state: Path | None = None  # None: in the journal's folder, if there is one
    no_state: bool = False
    state_max_age_s: Annotated[float, Field(gt=0, le=_MAX_AGE_S, allow_inf_nan=False)] = 86_400.0
    metrics_listen: str = ""  # HOST:PORT; empty: none
    trace_endpoint: str = ""  # URL of OTLP over HTTP; empty: no traces
    trace_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = DEFAULT_RATIO
    reflection: bool = False
    grace_s: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 5.0

    @property
    def tls(self) -> TlsFiles | None:
        """The files of the server; None for plain text."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def trace(self) -> TraceConfig | None:
        """Where traces go, None for nowhere; raises SettingsError."""
        return read_trace_config(self.trace_endpoint, self.trace_ratio)

    @property
    def policy(self) -> Policy:
        """The verifier's own policy."""
        return Policy(max_test_age_s=self.max_test_age_s, max_status_age_s=self.max_status_age_s)

    @property
    def limits(self) -> Limits:
        """How much one worker takes on."""
        return Limits(
            threads=self.threads,
            max_backlog=self.max_backlog,
            max_streams=self.max_streams,
            max_connections=self.max_connections,
            known_codes=self.known_codes,
            connection_age_s=self.connection_age_s,
        )

    @property
    def journal_folder(self) -> Path | None:
        """Where the scan log is written, absolute; None for nowhere."""
        return None if self.no_journal else self.journal.absolute()

    @property
    def state_folder(self) -> Path | None:
        """Where what is known is kept for the next start, absolute; None for nowhere."""
        if self.no_state:
            return None
        if self.state is not None:
            return self.state.absolute()
        return None if self.journal_folder is None else self.journal_folder / "state"

    @property
    def effective_gate_auth(self) -> GateAuth:
        """How gates show who they are, where it was not said: by what the connection can carry safely."""
        if self.gate_auth is not None:
            return self.gate_auth
        if self.tls_client_ca is not None:
            return GateAuth.CERTIFICATE
        return GateAuth.KEY if self.tls is not None else GateAuth.NONE


def load_settings(options: Mapping[str, Any]) -> VerifierSettings:
    """Return the settings that options (None: not given), environment and file make; raises SettingsError."""
    known = {PREFIX + name.upper() for name in VerifierSettings.model_fields} | {SCAN_SERVER_VARIABLE}
    given = {name: value for name, value in options.items() if value is not None}
    path = given.get("config") or os.environ.get(PREFIX + "CONFIG")
    if path is not None:
        given = _read_config(Path(path)) | given
    settings = load(VerifierSettings, given, prefix=PREFIX, known=known)
    _check(settings)
    return settings


def changes_needing_restart(old: VerifierSettings, new: VerifierSettings) -> list[str]:
    """Return the names of settings that differ and that no rolling restart takes up."""
    names = sorted(VerifierSettings.model_fields.keys() - RELOADABLE)
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def reloaded(old: VerifierSettings, new: VerifierSettings) -> VerifierSettings:
    """Return the old settings with what a rolling restart takes up from the new ones.

    Raises SettingsError where the two do not go together, as a `listen` that stays beyond loopback and a
    certificate that is gone, or where gates would have to show less than now, or a limit on ages would be
    gone: a file half written, or of another machine, must not unlock the doors; whoever means it can restart.
    """
    merged = old.model_copy(update={name: getattr(new, name) for name in RELOADABLE})
    _check(merged)
    for what, is_less in (
        ("TLS is dropped", old.tls is not None and merged.tls is None),
        ("client certificates are not asked for", old.tls_client_ca and not merged.tls_client_ca),
        ("--gate-auth is weaker", _strength(merged) < _strength(old)),
        ("--max-test-age-s is dropped", old.max_test_age_s and not merged.max_test_age_s),
        ("--max-status-age-s is dropped", old.max_status_age_s and not merged.max_status_age_s),
    ):
        if is_less:
            raise SettingsError(f"{what}: that takes a restart")
    return merged


def _strength(settings: VerifierSettings) -> int:
    return (GateAuth.NONE, GateAuth.KEY, GateAuth.CERTIFICATE).index(settings.effective_gate_auth)


def read_root_key(path: Path) -> VerifyingKey:
    """Return the root's public key from a PEM file (SubjectPublicKeyInfo); raises SettingsError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read the root key {path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            f"{path} is not a public key in PEM, as `gatelight-issuer init` writes it"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path} is not an Ed25519 key")
    return VerifyingKey(key.public_bytes_raw())


def _check(settings: VerifierSettings) -> None:
    require_address(settings.listen, "listen")
    if settings.metrics_listen:
        require_address(settings.metrics_listen, "metrics-listen")
    read_trace_config(settings.trace_endpoint, settings.trace_ratio)
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError("--tls-certificate and --tls-key come together: give both, or neither")
    if settings.tls_client_ca is not None and settings.tls is None:
        raise SettingsError("--tls-client-ca needs --tls-certificate and --tls-key")
    if settings.effective_gate_auth is GateAuth.CERTIFICATE and settings.tls_client_ca is None:
        raise SettingsError("--gate-auth: certificate needs --tls-client-ca")
    if settings.cors_origins and settings.engine is EngineName.GRPCIO:
        raise SettingsError("--cors-origins: the engine grpcio lets no web page call: say --engine envoy")
    if settings.tls is None and not settings.insecure:
        require_loopback(settings.listen)


def _read_config(path: Path) -> dict[str, Any]:
    """Return what a file says that no variable says otherwise; raises SettingsError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CONFIG_BYTES).decode()
        written = tomllib.loads(content)
    except OSError as error:
        raise SettingsError(f"--config: cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        # The place alone: the line may hold the password of Redis.
        place = (
            str(error).rpartition("(")[2].rstrip(")") if isinstance(error, tomllib.TOMLDecodeError) else ""
        )
        raise SettingsError(f"--config: {path} is not TOML{place and f' ({place})'}") from None
    allowed = VerifierSettings.model_fields.keys() - {"config"}
    said: dict[str, Any] = {}
    for name, value in written.items():
        setting = name.replace("-", "_")
        if setting not in allowed:
            near = difflib.get_close_matches(setting, allowed, n=1)
            advice = f": did you mean {near[0].replace('_', '-')}?" if near else ""
            raise SettingsError(f"--config: {path}: unknown name {name}{advice}")
        if setting in said:
            raise SettingsError(f"--config: {path}: {name} is there twice, with hyphen and underscore")
        said[setting] = value
    set_already = {name for name in said if PREFIX + name.upper() in os.environ}
    if REDIS_URL_VARIABLE in os.environ:
        set_already.add("redis_url")
    return {name: value for name, value in said.items() if name not in set_already}
