"""The settings of an issuer.

Each setting is an option and a variable GATELIGHT_ISSUER_<NAME>; the option wins. GATELIGHT_REDIS_URL is
shared with the verifier.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

import verifier.errors
import verifier.settings
from issuer.errors import SettingsError

PREFIX = "GATELIGHT_ISSUER_"

_MAX_PASSPHRASE_BYTES = 1_024

_Settings = TypeVar("_Settings", bound=BaseSettings)


class FolderSettings(BaseSettings):
    """Where the issuer's files are, and what opens them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, populate_by_name=True)

    folder: Path = Path("gatelight-issuer")
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
    """What an issuer needs to serve."""

    listen: str = "127.0.0.1:50061"
    insecure: bool = False
    port_file: Path | None = None
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", validation_alias=AliasChoices("redis_url", "GATELIGHT_REDIS_URL")
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 16
    grace_s: Annotated[float, Field(ge=0)] = 5.0


class ClientSettings(BaseSettings):
    """What a command needs that asks a running issuer."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    server: str = "127.0.0.1:50061"
    timeout_s: Annotated[float, Field(gt=0)] = 10.0


def load(kind: type[_Settings], options: Mapping[str, Any]) -> _Settings:
    """Return the settings that options (None: not given) and environment make; raises SettingsError."""
    known = {PREFIX + name.upper() for kind in (ServeSettings, ClientSettings) for name in kind.model_fields}
    known -= {PREFIX + name for name in ("PASSPHRASE", "PASSPHRASE_FILE", "REDIS_URL")}
    try:
        return verifier.settings.load(kind, options, prefix=PREFIX, known=known)
    except verifier.errors.SettingsError as error:
        raise SettingsError(str(error)) from None


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
