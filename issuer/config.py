"""The settings of an issuer: the only place in this package that reads the environment.

Each setting is an option and a variable GATELIGHT_ISSUER_<NAME>; the option wins. GATELIGHT_REDIS_URL is
shared with the verifier.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from issuer.errors import SettingsError

PREFIX = "GATELIGHT_ISSUER_"

_MAX_PASSPHRASE_BYTES = 1_024

_Settings = TypeVar("_Settings", bound=BaseModel)


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
    _reject_unknown_variables()
    try:
        return kind(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise SettingsError("; ".join(problems)) from None


def _reject_unknown_variables() -> None:
    """Raise SettingsError for a GATELIGHT_ISSUER_ variable that no setting has: it is misspelt."""
    known = {PREFIX + name.upper() for kind in (ServeSettings, ClientSettings) for name in kind.model_fields}
    known -= {PREFIX + name for name in ("PASSPHRASE", "PASSPHRASE_FILE", "REDIS_URL")}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            advice = f": did you mean {near[0]}?" if near else ""
            raise SettingsError(f"unknown variable {variable}{advice}")


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
