"""The settings of an issuer.

Each setting is an option and a variable GATELIGHT_ISSUER_<NAME>; the option wins. GATELIGHT_REDIS_URL and
the passphrase's are shared with other parts. Secrets are files, or variables; no option carries one, because
every user of a machine sees the options of its processes. (A password of the register belongs into
GATELIGHT_ISSUER_REGISTER_URL, or into PostgreSQL's own ~/.pgpass.)
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

import verifier.errors
import verifier.settings
from issuer.addresses import is_local, require_sound, socket_address
from issuer.errors import SettingsError
from verifier.tracing import DEFAULT_RATIO, TraceConfig, read_trace_config

PREFIX = "GATELIGHT_ISSUER_"

_MAX_PASSPHRASE_BYTES = 1_024
_YEAR_S = 366 * 86_400

_Settings = TypeVar("_Settings", bound=BaseSettings)
_Count = Annotated[int, Field(ge=1)]
_Folder = Path("gatelight-issuer")


class FolderSettings(BaseSettings):
    """Where the issuer's files and its register are, and what opens them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, populate_by_name=True)

    folder: Path = _Folder
    # A path, sqlite:///... or postgresql+psycopg://...; empty: register.db in the folder.
    register_url: str = Field("", repr=False)
    passphrase_file: Path | None = Field(
        None, validation_alias=AliasChoices("passphrase_file", "GATELIGHT_PASSPHRASE_FILE")
    )
    passphrase: SecretStr | None = Field(None, validation_alias="GATELIGHT_PASSPHRASE")

    def read_passphrase(self) -> bytes | None:
        """Return the passphrase from the file or the variable, None without either; raises SettingsError.

        The line break that editors put at the end of a file is not part of it.
        """
        if self.passphrase_file is not None:
            return _read_passphrase_file(self.passphrase_file)
        if self.passphrase is None:
            return None
        if not (passphrase := self.passphrase.get_secret_value()):
            raise SettingsError("GATELIGHT_PASSPHRASE is empty")
        return os.fsencode(passphrase)  # the bytes that the variable has, whatever the locale


class ServeSettings(FolderSettings):
    """What an issuer needs to serve. The socket in its folder is there in any case."""

    listen: str = "127.0.0.1:50061"  # HOST:PORT; empty: the socket alone
    insecure: bool = False  # plain text beyond this machine
    tls_certificate: Path | None = None  # PEM, the server's own certificate first
    tls_key: Path | None = None  # PEM, RSA or EC, not encrypted
    tls_client_ca: Path | None = None  # PEM: clients have to have a certificate of one of these
    port_file: Path | None = None
    metrics_listen: str = ""  # HOST:PORT; empty: none
    trace_endpoint: str = ""  # URL of OTLP over HTTP; empty: no traces
    trace_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = DEFAULT_RATIO
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", validation_alias=AliasChoices("redis_url", "GATELIGHT_REDIS_URL")
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 16
    grace_s: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 5.0
    # Below a minute it is a drill: codes last that long.
    key_life_s: Annotated[int, Field(ge=10, le=_YEAR_S)] = 7 * 86_400
    key_set_life_s: Annotated[int, Field(ge=60, le=2 * _YEAR_S)] = 30 * 86_400
    second_person_above: Annotated[int, Field(ge=0)] = 100  # changed holders, by client and hour
    red_alarm_per_hour: _Count = 20  # manual reds, by client
    bundle_burst: _Count = 10  # by credential
    bundles_per_hour: _Count = 60  # by credential

    @property
    def trace(self) -> TraceConfig | None:
        """Where traces go, None for nowhere; raises SettingsError."""
        try:
            return read_trace_config(self.trace_endpoint, self.trace_ratio)
        except verifier.errors.SettingsError as error:
            raise SettingsError(str(error)) from None


class ArchiveSettings(FolderSettings):
    """What an archive needs. It opens no private key."""

    metrics_listen: str = ""  # HOST:PORT; empty: none
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", validation_alias=AliasChoices("redis_url", "GATELIGHT_REDIS_URL")
    )
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 28
    walk_s: Annotated[int, Field(ge=1, le=86_400)] = 60  # between two gates


class ClientSettings(BaseSettings):
    """What a command needs that asks a running issuer."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    folder: Path = _Folder
    server: str = ""  # unix:PATH or HOST:PORT; empty: the socket in the folder
    # Empty: local.key in the folder, if it is there and the server is on this machine: the key of this
    # issuer is not for another one to see.
    key_file: Path | None = None
    tls_ca: Path | None = None  # PEM: who may vouch for the server; without it, whom this machine trusts
    tls_certificate: Path | None = None  # PEM
    tls_key: Path | None = None  # PEM
    insecure: bool = False  # plain text to a server beyond this machine
    timeout_s: Annotated[float, Field(gt=0)] = 10.0

    @model_validator(mode="after")
    def _find_local_files(self) -> Self:
        self.server = self.server or socket_address(self.folder / "issuer.sock")
        local_key = self.folder / "local.key"
        if self.key_file is None and is_local(self.server) and local_key.exists():
            self.key_file = local_key
        return self


def load(kind: type[_Settings], options: Mapping[str, Any]) -> _Settings:
    """Return the settings that options (None: not given) and environment make; raises SettingsError."""
    kinds: tuple[type[BaseSettings], ...] = (ServeSettings, ArchiveSettings, ClientSettings)
    known = {PREFIX + name.upper() for one in kinds for name in one.model_fields}
    known -= {PREFIX + name for name in ("PASSPHRASE", "PASSPHRASE_FILE", "REDIS_URL")}
    try:
        settings = verifier.settings.load(kind, options, prefix=PREFIX, known=known)
    except verifier.errors.SettingsError as error:
        raise SettingsError(str(error)) from None
    if isinstance(settings, ServeSettings):
        _require_tls_beyond_this_machine(settings)
    if isinstance(settings, (ServeSettings, ArchiveSettings)) and settings.metrics_listen:
        require_sound(settings.metrics_listen, "metrics_listen")
    return settings


def _require_tls_beyond_this_machine(settings: ServeSettings) -> None:
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError("--tls-certificate and --tls-key come together: give both, or neither")
    if settings.tls_client_ca is not None and settings.tls_certificate is None:
        raise SettingsError("--tls-client-ca needs --tls-certificate and --tls-key")
    if not settings.listen:
        return
    require_sound(settings.listen, "listen")
    if not (is_local(settings.listen) or settings.insecure or settings.tls_certificate is not None):
        raise SettingsError(
            f"--listen: {settings.listen} is not on this machine alone: give --tls-certificate and "
            "--tls-key, or put a proxy with TLS before it and say --insecure"
        )


def _read_passphrase_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PASSPHRASE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read the passphrase file {path}: {error.strerror}") from None
    passphrase = content.rstrip(b"\r\n")
    if not 1 <= len(passphrase) <= _MAX_PASSPHRASE_BYTES:
        raise SettingsError(f"{path}: expected a passphrase of 1 to {_MAX_PASSPHRASE_BYTES} bytes")
    return passphrase
